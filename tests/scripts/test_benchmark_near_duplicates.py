"""The benchmark needs a package that is not installed, and says how to run with it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_near_duplicates.py"


@pytest.mark.skipif(importlib.util.find_spec("datasketch") is not None, reason="datasketch is installed")
def test_without_datasketch_the_command_that_has_it_is_named():
  done = subprocess.run([sys.executable, SCRIPT, "--documents=8"], capture_output=True, text=True)
  assert done.returncode == 2 and "uv run --with datasketch" in done.stderr and not done.stdout
