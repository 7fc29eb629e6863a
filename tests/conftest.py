"""What all tests share: strict numerics, and property tests without a stopwatch on a busy machine."""

import os

import hypothesis
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # a program from an earlier process is no test of this one

hypothesis.settings.register_profile("gen", deadline=None, print_blob=True)
hypothesis.settings.load_profile("gen")


@pytest.fixture
def strict_ranks():
  """Makes adding arrays of unequal rank an error, so that a forgotten axis does not broadcast."""
  import jax

  with jax.numpy_rank_promotion("raise"):
    yield
