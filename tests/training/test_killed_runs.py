"""A run that is killed at random moments, again and again, ends as if nobody had disturbed it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KILLED = Path(__file__).with_name("killed_runs.py")
pytestmark = [pytest.mark.process, pytest.mark.release, pytest.mark.optimized]


def test_kills_at_random_moments_change_no_bit_of_a_run(fuzz, tmp_path):
  command = [sys.executable, KILLED, tmp_path, f"--seconds={fuzz.seconds}", f"--seed={fuzz.seed}"]
  done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-3000:]
  found = json.loads(done.stdout)
  fuzz.tries = found["kills"]
  assert found["runs"] >= 1
