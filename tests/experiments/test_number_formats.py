"""The experiment on number formats prints bits, writes JSON and a figure, and says what is no number."""

import json

import pytest

EXPERIMENT = "number_formats.py"


def test_pi_is_shown_in_every_format_with_a_figure(run, tmp_path):
  plot = tmp_path / "bits.png"
  code, out, _ = run("--number=pi", "--json=-", f"--plot={plot}")
  report = json.loads(out)
  assert code == 0 and plot.stat().st_size > 10_000
  assert {row["format"]: row["hexadecimal"] for row in report["formats"]} == {
    "fp32": "0x40490FDB", "tf32": "0x20248", "fp16": "0x4248", "bf16": "0x4049", "fp8_e4m3": "0x45",
    "fp8_e5m2": "0x42", "int8": "0x03", "int4": "0x3", "nf4": "0xF",
  }  # fmt: skip
  assert [row["gigabytes_of_a_billion"] for row in report["formats"]] == [4, 4, 2, 2, 1, 1, 1, 0.5, 0.5]


@pytest.mark.parametrize(("number", "text"), [("-0", "-0 in each"), ("-inf", "-inf"), ("nan", "no pattern")])
def test_zeros_with_a_sign_infinities_and_nan_have_a_table(run, number, text, tmp_path):
  code, out, _ = run(f"--number={number}", f"--plot={tmp_path / 'bits.svg'}")
  assert code == 0 and text in out and "FP8 E5M2" in out


@pytest.mark.parametrize("number", ["1e400", "1e-400", "three", "", "--3", "0x10"])
def test_what_is_no_number_of_64_bits_is_one_sentence(run, number):
  code, out, err = run(f"--number={number}")
  assert code == 2 and out == "" and err.startswith("error: --number") and err.count("\n") == 1
