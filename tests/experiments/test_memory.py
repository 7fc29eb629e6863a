"""The tool that foretells memory answers in JSON, draws its plot, and says what it cannot do."""

import json
from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).parents[2]


def memory(*words):
  return programs.run(["experiments/memory.py", *words])


def test_an_account_of_parameters_has_the_papers_numbers_and_a_plot(tmp_path):
  plot = tmp_path / "memory.png"
  done = memory(
    "--params=7.5e9", "--layout=zero1", "--devices=64", "--precision=mixed", "--json=-", f"--plot={plot}"
  )
  found = json.loads(done.stdout)
  assert found["state_bytes_per_device"] / 1e9 == pytest.approx(31.4, rel=0.01)
  parts = [
    found[f"{name}_bytes_per_device"] for name in ("parameters", "gradients", "opt_state", "master_copies")
  ]
  assert sum(parts) == pytest.approx(found["state_bytes_per_device"])
  assert found["account"].startswith("state alone")
  assert (
    found["step_bytes_per_device"]
    > found["step_bytes_per_device_full_remat"]
    > found["state_bytes_per_device"]
  )
  assert plot.stat().st_size > 5_000


def test_a_preset_is_accounted_for_from_its_config_alone():
  done = memory(
    *("--preset=gpt2-xl", "--layout=zero3", "--devices=64", "--batch=64"),
    *("--chip=v5p", "--nocompile", "--json=-"),
  )
  found = json.loads(done.stdout)
  assert found["fits"] and found["peak_bytes_per_device"] < found["memory_bytes_per_device"] == 95 * 2**30
  assert found["parameters"] == 1_557_611_200  # GPT-2 XL's
  assert found["state_bytes_per_device"] == pytest.approx(16 * found["parameters"] / 64, rel=0.02)
  assert set(found["remat_policies"]) == {"none", "dots", "full"}
  assert {move["kind"] for move in found["collectives"]} == {"all-gather", "reduce-scatter"}
  assert found["cache_bytes_per_device"] == 2 * 48 * 1024 * 1600 * 2  # one row of 1024 positions in bfloat16


def test_a_chip_is_big_enough_or_not(tmp_path):
  done = memory("--params=1e9", "--chip=v5e", f"--json={tmp_path / 'found.json'}")
  found = json.loads((tmp_path / "found.json").read_text("utf-8"))
  assert found["step_bytes_per_device"] > found["memory_bytes_per_device"] == 16 * 2**30
  assert done.returncode == 1 and "of 16 GiB of one v5e: does not fit, by this account" in done.stdout
  done = memory("--params=1e9", "--chip=h200")
  assert done.returncode == 0 and "of 131 GiB of one h200: fits" in done.stdout


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    ((), "give either --preset=NAME or --params=NUMBER"),
    (("--params=1e9", "--preset=gpt2"), "give either"),
    (("--params=-1",), "--params=-1: -1 is too small"),
    (("--params=1e9", "--chip=b200"), "unknown chip 'b200'; choose one of v4 (32 GiB)"),
    (("--preset=gpt2", "--weights=int8"), "--weights is of --use=decode; give that too"),
    (("--preset=gpt2", "--use=decode", "--rank=4"), "--rank is of --use=finetune"),
    (("--preset=gpt2", "--use=finetune", "--length=64"), "counts the state, which has no rows; leave"),
    (("--params=1e9", "--mesh=data=4"), "--mesh needs the shapes of a --preset"),
    (("--preset=gpt2", "--devices=3", "--batch=4", "--nocompile"), "data.batch is 4 rows"),
    (
      ("--preset=gpt2", "--mesh=data=4", "--json=/no/such/folder/x"),
      "is in /no/such/folder, which does not exist",
    ),
  ],
)
def test_a_mistake_is_one_sentence_and_exit_code_two(words, sentence):
  done = memory(*words)
  assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1
