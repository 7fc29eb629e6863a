"""The experiment quantizes a trained run, reports what it costs, and writes a run that generation opens."""

import json

import pytest

import gen
from gen.data import dataset
from gen.training import trunks
from tests import tiny_run

EXPERIMENT = "quantize.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  folder = tmp_path_factory.mktemp("quantize")
  run = tiny_run.make_run(tiny_run.write_corpus(folder), folder / "cache")
  trunks.train_branch(run, folder / "run", dataset.load_dataset(run.data))
  return folder / "run"


def test_int8_is_written_opened_and_hardly_worse(run, trained, tmp_path):
  output = tmp_path / "int8"
  code, out, err = run(
    f"--checkpoint={trained}", "--weights=int8", f"--output={output}", "--json=-", "--prompts=3", "--new=4"
  )
  assert code == 0, err
  report = json.loads(out)
  assert report["bytes_after"] < report["bytes_before"] and len(report["kernels"]) == 8
  assert (
    abs(report["loss"]["difference"]) < 0.05
    and report["loss"]["low"] <= report["loss"]["difference"] <= report["loss"]["high"]
  )
  assert report["bits_per_byte"]["before"] > 0 and 0 <= report["greedy_agreement"]["share"] <= 1
  assert isinstance(gen.generate(gen.load(output), "the model", max_tokens=3), str)
  code, _, err = run(f"--checkpoint={output}", "--weights=int4")
  assert code == 2 and "cannot be quantized again" in err and str(trained) in err
  code, _, err = run(f"--checkpoint={trained}", f"--output={output}")
  assert code == 2 and "already contains a run" in err


def test_four_bits_by_gptq_with_text_of_ones_own(run, trained, tmp_path):
  text = tmp_path / "text.txt"
  text.write_text(" ".join(tiny_run.sentence(number) for number in range(60)))
  code, out, err = run(
    f"--checkpoint={trained}", "--weights=int4", "--activations=int8", "--scheme=group:4,gptq,static,smooth",
    "--cache=int8", f"--text={text}", "--rows=6", "--json=-", "--prompts=2", "--new=3",
  )  # fmt: skip
  assert code == 0, err
  report = json.loads(out)
  assert report["scheme"]["method"] == "gptq" and any(row["output_error"] for row in report["kernels"])


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    (["--scheme=group:5"], "groups of 5 do not divide"),
    (["--scheme=static"], "--activations=int8"),
    (["--text=no/such/file"], "no/such/file cannot be read"),
    (["--step=999"], "no checkpoint of step 999"),
  ],
)
def test_mistakes_are_one_sentence(run, trained, words, sentence):
  code, out, err = run(f"--checkpoint={trained}", "--weights=int4", *words)
  assert code == 2 and sentence in err, err
  assert "parameter" not in out  # no part of the table


def test_an_empty_calibration_text_is_refused(run, trained, tmp_path):
  (tmp_path / "empty.txt").write_text(" \n")
  code, _, err = run(
    f"--checkpoint={trained}", "--weights=int4", "--scheme=gptq", f"--calibration={tmp_path / 'empty.txt'}"
  )
  assert code == 2 and "empty.txt is empty" in err
