"""What all tests share: programs that compile quickly, strict numerics, and property tests without a stopwatch.

Tests compile more than they compute, so XLA generates their machine code without optimizing it, which takes a third of
the time; the graph of operations is optimized as ever. `JAX_DISABLE_MOST_OPTIMIZATIONS=false uv run pytest` compiles
everything as users do.
"""

import os
import sys

import hypothesis
import pytest

QUICK = "JAX_DISABLE_MOST_OPTIMIZATIONS"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
ASKED = os.environ.setdefault(QUICK, "true")
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # a program from an earlier process is no test of this one

hypothesis.settings.register_profile("gen", deadline=None, print_blob=True)
hypothesis.settings.load_profile("gen")


def pytest_configure(config):
  """Keeps modules' bytecode for the processes that tests start, where the environment says to keep none.

  Such a process spends most of its time compiling jax's source. A folder of our own leaves the packages' untouched.
  """
  if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(config.rootpath / ".pytest_cache" / "bytecode"))


def pytest_collection_modifyitems(items):
  """Puts whole commands first: files are dealt out in this order, and a long one at the end would keep one worker."""
  items.sort(key=lambda item: "end_to_end" not in item.path.parts)


@pytest.fixture
def strict_ranks():
  """Makes adding arrays of unequal rank an error, so that a forgotten axis does not broadcast."""
  import jax

  with jax.numpy_rank_promotion("raise"):
    yield


@pytest.fixture(autouse=True, scope="module")
def compiler(request):
  """Compiles as users do, here and in processes started from here, for modules with `pytestmark = optimized`.

  Where two programs must agree in every bit, they shall do so as users run them: only optimized code contracts a
  product and a sum into one operation, and it may do so in one program and not in the other. And the solver of
  scaling laws computes long enough to win back what optimizing it costs.
  """
  optimized = request.node.get_closest_marker("optimized") or request.path.parent.name in ("scaling", "docs")
  wanted = "false" if optimized else ASKED
  if os.environ[QUICK] == wanted:
    return
  os.environ[QUICK] = wanted
  if "jax" in sys.modules:  # else it reads the variable when it is imported
    import jax

    jax.config.update(QUICK.lower(), wanted in ("true", "1"))
    jax.clear_caches()  # what other modules compiled
