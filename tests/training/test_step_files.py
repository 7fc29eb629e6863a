"""Who reads one training step of a plain decoder opens eight files."""

import importlib.util
from pathlib import Path

import pytest

from gen.config import Model

pytestmark = pytest.mark.compiles  # reading a program from the cache is no part of a step

SCRIPT = Path(__file__).parents[2] / "scripts" / "count_step_files.py"
MAX_FILES = 8


def load_script():
  spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_a_step_of_a_plain_decoder_passes_through_at_most_eight_files():
  model = Model(
    vocab=59, width=28, depth=1, head_width=14
  )  # traced by no other test: a second trace calls nothing
  calls = load_script().functions_by_file(model)
  assert len(calls) <= MAX_FILES, sorted(calls)
  # What must be passed through is seen: the step, the model, both passes of its kernels, and the loss.
  assert "train_step" in calls["training/step.py"]
  assert "Attention.__call__" in calls["models/transformer.py"]
  assert {"matmul", "_matmul_forward", "_matmul_backward"} <= calls["kernels/gradients.py"]
  assert "cross_entropy" in calls["kernels/losses.py"]
