"""A sweep that is killed or stopped at random moments, whole or one worker of it, ends as if undisturbed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fuzzing

KILLED = Path(__file__).with_name("killed_sweeps.py")
pytestmark = [pytest.mark.process, pytest.mark.release, pytest.mark.optimized]


def test_signals_at_random_moments_change_no_bit_of_a_sweep(fuzz, tmp_path):
  command = [sys.executable, KILLED, tmp_path, f"--seconds={fuzz.seconds}", f"--seed={fuzz.seed}"]
  command += [] if fuzzing.LONG else ["--hits=2"]
  done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-3000:]
  found = json.loads(done.stdout)
  fuzz.tries = sum(found["hits"].values())
  assert found["sweeps"] >= 1 and found["sittings"] >= found["sweeps"]
