"""What all tests share: quick compilation, a cache of compiled programs, markers, strict numerics, property tests.

Tests compile more than they compute. XLA generates their machine code without optimizing it, which takes a third of
the time or less (tests/quick_compiling.py); the graph of operations is optimized as ever.
`JAX_DISABLE_MOST_OPTIMIZATIONS=false uv run pytest` compiles everything as users do. Compiled programs are kept in
.pytest_cache/programs, for other workers, for the processes that tests start, and for the next run. An entry's key is
the program, its options and jaxlib's version, so an entry is what compiling again would give. Tests about compiling
carry the marker `compiles` and use no cache.
"""

import gc
import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

from gen.io import compiled_programs
from tests import fuzzing, quick_compiling

QUICK = quick_compiling.SWITCH
os.environ.setdefault("JAX_PLATFORMS", "cpu")
ASKED = os.environ.setdefault(QUICK, "true")
PROGRAMS = Path(__file__).parents[1] / ".pytest_cache" / "programs"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(PROGRAMS)
os.environ.setdefault(
  "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1"
)  # reading an entry takes some 0.01 s
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")

# Marker of whole folders and files of tests; files may carry further ones themselves.
PROCESS = ("end_to_end", "experiments", "scripts", "docs")
LEFT_OUT = ("process", "release")
LEFT = pytest.StashKey[dict[str, int]]()
# Tracing allocates millions of small objects. At Python's 700 a collection, collecting takes a tenth of the time.
COLLECT_AT = (50_000, 20, 50)

hypothesis.settings.register_profile("gen", deadline=None, print_blob=True)
hypothesis.settings.load_profile("gen")


def pytest_configure(config):
  """Keeps modules' bytecode for the processes that tests start, where the environment says to keep none.

  Such a process spends most of its time compiling jax's source. A folder of our own leaves the packages' untouched.
  """
  if (
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
  ):  # under nohup; tests of hang-ups and their programs need it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
  if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(config.rootpath / ".pytest_cache" / "bytecode"))


def pytest_addoption(parser):
  parser.addoption(
    "--all", action="store_true", help="run every test, also those of whole programs and of a release"
  )


def pytest_sessionstart():
  """Collects cycles of objects less often."""
  gc.set_threshold(*COLLECT_AT)


def pytest_sessionfinish():
  """Takes all objects out of further collections: pytest makes five at its end, of 2 s each."""
  gc.freeze()


def pytest_make_parametrize_id(val, argname):
  """Names bytes by their argument and number: compressed bytes hold the time, and workers would differ by it."""
  return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(config, items):
  """Marks tests of whole programs, and brings all tests into the order of `_turn`.

  `uv run pytest` leaves out what is marked `process` or `release`. `--all`, `-m`, or files on the command line bring
  them back.
  """
  for item in items:
    folder = item.path.relative_to(config.rootpath).parts[1:2]
    if folder and folder[0] in PROCESS:
      item.add_marker("process")
    if item.get_closest_marker("slow"):  # the default command leaves out all that takes long
      item.add_marker("process")
    if "fuzz" in getattr(item, "fixturenames", ()):
      item.add_marker("fuzz")
  items.sort(key=_turn)
  if config.option.all or config.option.markexpr or config.args_source is pytest.Config.ArgsSource.ARGS:
    return
  left_out = [item for item in items if any(item.get_closest_marker(name) for name in LEFT_OUT)]
  items[:] = [item for item in items if item not in set(left_out)]
  config.hook.pytest_deselected(items=left_out)
  counts = dict.fromkeys(LEFT_OUT, 0)
  for item in left_out:
    counts["release" if item.get_closest_marker("release") else "process"] += 1
  config.stash[LEFT] = counts
  if hasattr(config, "workeroutput"):
    config.workeroutput["left_out"] = counts


def _is_optimized(node):
  return node.get_closest_marker("optimized") is not None


def _turn(item):
  """Returns the place of a test in the order.

  Whole programs come first: a long one at the end would keep one worker alone. Modules that compile as users do follow
  each other, because a module that compiles in the other way clears what was compiled.
  """
  alone = item.get_closest_marker("process") is None
  return alone, _is_optimized(item) != alone


@pytest.fixture
def fuzz(request, record_property):
  """Time and seeds of a fuzz test; the cases of a parametrized test share its time."""
  function = request.node.function
  cases = sum(getattr(item, "function", None) is function for item in request.session.items)
  request.node.fuzz = fuzzing.Fuzz(cases)
  yield request.node.fuzz
  record_property(fuzzing.MADE, request.node.fuzz.tries)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
  """Says with which seed a fuzz test failed."""
  report = yield
  if report.when == "call" and report.failed and hasattr(item, "fuzz"):
    report.sections.append(("fuzz", f"GEN_FUZZ_SEED={item.fuzz.seed} begins with the round that failed"))
  return report


@pytest.fixture
def strict_ranks():
  """Makes adding arrays of unequal rank an error, so that a forgotten axis does not broadcast."""
  import jax

  with jax.numpy_rank_promotion("raise"):
    yield


@pytest.fixture(scope="session")
def random_parameters():
  """Draws float32 parameters by numpy, which takes less time than to compile an initializer.

  Scales are near 1, everything else is small and nowhere zero, so no gradient vanishes by chance.
  """
  import jax
  import numpy as np

  from gen.models import language_model

  def draw_all(model, seed=0):
    rng = np.random.default_rng(seed)

    def draw(path, shape):
      centre = 1.0 if path[-1].key == "scale" else 0.0
      return (centre + 0.3 * rng.normal(size=shape.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, language_model.parameter_shapes(model))

  return draw_all


@pytest.fixture(autouse=True, scope="module")
def compiler(request):
  """Compiles as users do, here and in processes started from here, for modules with `pytestmark = optimized`.

  Where two programs must agree in every bit, they shall do so as users run them: only optimized code contracts a
  product and a sum into one operation, and it may do so in one program and not in the other. Most tests of scaling
  laws are not optimized: that took 51.8 instead of 50.5 seconds of processor time for approach 3.
  """
  if "jax" in sys.modules:
    quick_compiling.apply_to_jax()
  quick_compiling.expect_long_runs("scaling" in request.path.relative_to(request.config.rootpath).parts)
  wanted = "false" if _is_optimized(request.node) else ASKED
  if os.environ[QUICK] == wanted:
    return
  os.environ[QUICK] = wanted
  if "jax" in sys.modules:  # else it reads the variable when it is imported
    import jax

    jax.config.update(QUICK.lower(), wanted in ("true", "1"))
    jax.clear_caches()  # what other modules compiled


@pytest.fixture(autouse=True, scope="session")
def checked_programs():
  """Checks the entries of jax's cache: jax writes them in place, and reading half of one can end the process."""
  if (
    "jax" in sys.modules
  ):  # as after collecting any test that compiles; importing it here would cost the others
    compiled_programs.keep_programs_in(PROGRAMS)


@pytest.fixture(autouse=True, scope="module")
def uncached(request, checked_programs):
  """Switches the cache of compiled programs off for modules with `pytestmark = compiles`, children included."""
  if request.node.get_closest_marker("compiles") is None:
    yield
    return
  del os.environ["JAX_COMPILATION_CACHE_DIR"]
  if "jax" in sys.modules:
    import jax

    jax.config.update("jax_enable_compilation_cache", False)
    jax.clear_caches()
  yield
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(PROGRAMS)
  if "jax" in sys.modules:
    import jax

    compiled_programs.keep_programs_in(PROGRAMS)
    jax.config.update("jax_enable_compilation_cache", True)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
  """Takes from a worker of pytest-xdist how many tests it left out; all workers collect the same."""
  node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(terminalreporter, config):
  """Says what the default selection left out, and how often long fuzz tests tried."""
  for report in terminalreporter.stats.get("", ()) if fuzzing.LONG else ():
    tries = dict(getattr(report, "user_properties", ())).get(fuzzing.MADE)
    if tries and report.when == "teardown":
      terminalreporter.write_line(f"{tries:>9,} tries of {report.nodeid}")
  left = config.stash.get(LEFT, {})
  if any(left.values()):
    terminalreporter.write_line(
      f"left out: {left['process']} tests of whole programs (-m process), {left['release']} of a release (-m release); "
      "`uv run pytest --all` runs everything"
    )
