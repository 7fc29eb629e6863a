"""What a user waits for before anything runs."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXPERIMENTS = sorted((Path(__file__).parents[1] / "experiments").glob("[!_]*.py"))
HEAVY = ("jax", "flax", "optax", "orbax", "grain", "scipy", "matplotlib", "tensorflow_datasets")


def test_importing_the_package_and_its_configs_imports_nothing_heavy():
  modules = "sys, gen, gen.config, gen.config.validation, gen.presets, gen.counts, gen.cli.launch"
  code = f"import {modules}; print(*sys.modules)"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert not set(HEAVY) & set(done.stdout.split())


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_says_what_it_does_within_a_second_of_its_own_time(path):
  done, seconds = timed(path)
  assert done.returncode == 0
  assert "usage" in (done.stdout + done.stderr).lower() or "flags" in done.stdout
  for _ in range(2):  # a processor that is busy with other things is slower as well
    if seconds >= 1:
      seconds = min(seconds, timed(path)[1])
  assert seconds < 1


def timed(path):
  """Returns the finished process and the shorter of its wall time and its processor time."""
  before, begun = os.times(), time.perf_counter()
  done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, check=False)
  wall, after = time.perf_counter() - begun, os.times()
  return done, min(
    wall, after.children_user + after.children_system - before.children_user - before.children_system
  )
