"""The script times every variant of a product, and a wrong size is one sentence."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_products.py"


def run(*flags):
  return subprocess.run([sys.executable, SCRIPT, *flags], capture_output=True, text=True)


def test_every_variant_of_every_size_is_timed():
  done = run("--sizes=24x40", "--rows=1,3", "--rounds=1", "--json=-")
  assert done.returncode == 0, done.stderr
  one, three = json.loads(done.stdout)["products"]
  assert (one["rows"], three["rows"], three["inputs"], three["outputs"]) == (1, 3, 24, 40)
  assert all(seconds > 0 for seconds in one["seconds"].values())
  assert three["seconds"].pop("int8 not padded") is None and min(three["seconds"].values()) > 0


def test_a_wrong_size_is_one_sentence():
  done = run("--sizes=24x0")
  assert done.returncode == 2 and "write INPUTSxOUTPUTS" in done.stderr and not done.stdout
