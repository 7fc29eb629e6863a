"""The cost of an epoch is measured in its padded lengths, and beside it in the longest alone."""

import json
import subprocess
import sys
from pathlib import Path

from tests.finetuning.conftest import DATA, write_run

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_finetuning.py"


def run(*arguments):
  return subprocess.run(
    [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
  )


def test_an_epoch_in_few_lengths_has_less_padding_than_one_in_the_longest(tmp_path):
  encoder = write_run(tmp_path / "encoder", "encoder")
  rows = [f"{example.text},{example.label}" for example in DATA["classify"].train]
  (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows, "ash " * 11 + ",tree"]) + "\n")
  flags = [
    f"--start_from={encoder}",
    f"--data={tmp_path / 'data.csv'}",
    "--batch=5",
    "--steps=1",
    "--rounds=1",
  ]
  done = run(*flags, "--max_shapes=3", "--json=-")
  assert done.returncode == 0, done.stderr[-2000:]
  found = json.loads(done.stdout)
  few, longest = found["sorted"], found["longest"]
  assert len(few["lengths"]) == 3 and longest["lengths"] == [few["lengths"][-1]]
  assert (
    found["tokens"] < few["padded_tokens"] < longest["padded_tokens"] == found["rows"] * longest["lengths"][0]
  )
  assert sum(few["steps"]) == sum(longest["steps"]) == -(-found["rows"] // 5)
  seconds = found["cpu_seconds_per_step"]
  expected = sum(count * seconds[str(size)] for count, size in zip(few["steps"], few["lengths"], strict=True))
  assert abs(few["cpu_seconds"] - expected) < 1e-9
  assert abs(found["ratio"] - longest["cpu_seconds"] / few["cpu_seconds"]) < 1e-9
  done = run("--data=x.csv")
  assert done.returncode == 2 and "--start_from is missing" in done.stderr
