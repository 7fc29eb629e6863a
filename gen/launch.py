"""How an experiment starts: flags, configuration, environment, and errors that speak to the user.

A process that trains on a CPU wants its temporaries in memory that is there already: XLA allocates them anew in each
call, and faulting them in by 4 KiB is a third of a small model's step. So glibc shall ask for huge pages, keep what is
freed, and take all from one heap, the only one that can keep it. It reads that wish (`GLIBC_TUNABLES`) once, before
`main`, so an experiment starts itself again with it. Importers of `gen` who train on a CPU set the same variable
themselves; elsewhere (macOS, musl, GPU, TPU) it changes nothing.
"""

import dataclasses
import difflib
import importlib.util
import itertools
import logging
import math
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

from absl import app, flags

from gen import field_help, terminal
from gen.errors import UserError
from gen.io import outputs, quantities

ALLOCATOR = (
  "glibc.malloc.hugetlb=1",  # huge pages
  "glibc.malloc.mmap_max=0",  # no block is a mapping of its own, which would be unmapped when it is freed
  "glibc.malloc.trim_threshold=68719476736",  # 64 GiB: the heap's free end stays
  "glibc.malloc.arena_max=1",  # other threads' heaps hold 64 MiB at most
)
USER_MISTAKE = 2  # exit code
INTERRUPTED = 130
THREADS_A_DEVICE = 8  # simulated
# What others call a field, where its own name is not like it.
OTHER_NAMES = {
  "batch_size": "data.batch",
  "context_length": "data.length",
  "dim": "model.width",
  "hidden_size": "model.width",
  "layers": "model.depth",
  "lr": "optimizer.peak_learning_rate",
  "num_layers": "model.depth",
  "precision": "model.dtype",
  "sequence_length": "data.length",
}
LONGEST_WORD = 600  # letters that an error repeats: more than most paths have
LIKE = 0.6  # of two names, by difflib's ratio


def main(
  function: Callable[..., int | None],
  kind: type | None = None,
  default: str = "",
  trains: bool = True,
) -> None:
  """Parses the command line and runs `function()`, or `function(config)` where a kind of config is given.

  Args:
    function: the experiment; what it returns is the exit code.
    kind: the dataclass that `--config=FILE` (or FILE:ARGUMENT) yields, and whose fields
      `--config.path.to.field=value` overrides.
    default: the file of `--config` when none is given.
    trains: whether the process trains, and so wants the allocator's settings.
  """
  sys.exit(terminal.run(lambda: _code(function, kind, default, trains)))


def _code(function: Callable[..., int | None], kind: type | None, default: str, trains: bool) -> int:
  try:
    give_simulated_devices_threads()
    _quiet_compiler_for_gpus()
    if trains and not asks_for_help(sys.argv):
      _start_again_with_allocator()
    if kind is not None:
      from ml_collections import config_flags

      sys.argv[1:] = check_overrides(sys.argv[1:], kind)
      holder = config_flags.DEFINE_config_file(
        "config", default, "Python file whose get_config() is the run."
      )
      _check_file(sys.argv[1:])
    arguments = _parse(sys.argv, kind)
    if len(arguments) > 1:
      raise UserError(f"argument {arguments[1]!r} is not understood; options are written --name=value")
    with outputs.json_alone(flags.FLAGS["json"].value if "json" in flags.FLAGS else None):
      code = function() if kind is None else function(_of_kind(holder.value, kind))
  except UserError as error:
    print(f"error: {_shortened_words(str(error), LONGEST_WORD)}", file=sys.stderr)
    code = USER_MISTAKE
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    code = INTERRUPTED
  return code or 0


def _parse(argv: list[str], kind: type | None) -> list[str]:
  app.define_help_flags()
  try:
    return flags.FLAGS(argv)
  except SystemExit:
    if kind is not None:
      print("\n" + "\n".join(field_help.lines(kind, width=shutil.get_terminal_size((100, 24)).columns)))
    sys.exit(0)  # absl ends with 1 when it has helped
  except Exception as error:
    first = _first(error)
    if isinstance(first, UserError):
      raise UserError(str(first)) from None
    if isinstance(error, flags.Error) and "parsing config file" not in str(error):
      raise UserError(_shortened_words(str(error))) from None
    last = str(first).strip().splitlines()[-1:] or [""]  # Whatever the user's config file raised.
    raise UserError(f"the config file cannot be read: {type(first).__name__}: {last[0].strip()}") from error


def _shortened_words(message: str, longest: int = 200) -> str:
  """Returns the message with every very long word cut, such as a value of 5,000 letters."""
  return re.sub(rf"\S{{{longest},}}", lambda word: quantities.shortened(word[0]), message)


def _first(error: BaseException) -> BaseException:
  """Returns the exception that an error began with; the flag libraries wrap what a config file raises."""
  while error.__context__ is not None:
    error = error.__context__
  return error


def asks_for_help(argv: list[str]) -> bool:
  return any(word.lstrip("-").split("=")[0] in ("help", "helpfull", "helpshort", "h") for word in argv[1:])


def _of_kind(value: Any, kind: type) -> Any:
  """Returns the config if it is of that kind."""
  if isinstance(value, kind):
    return value
  raise UserError(
    f"--config gives a {type(value).__name__}; this experiment wants a {kind.__name__} (see the files in configs/)"
  )


def _check_file(words: list[str]) -> None:
  for word, following in itertools.pairwise([*words, ""]):
    name, _, value = word.lstrip("-").partition("=")
    if word.startswith("-") and name == "config":
      path = value or following
      if not os.path.isfile(path.partition(":")[0]):  # noqa: PTH113
        raise UserError(f"--config={path}: no such file (the project's own are in configs/)")


def overrides(words: list[str]) -> Iterator[tuple[str, str | None]]:
  """Yields (path, value) of each `--config.path=value`; the value is None where none was given."""
  for _, path, value in _placed_overrides(words):
    yield path, value


def _placed_overrides(words: list[str]) -> Iterator[tuple[int, str, str | None]]:
  """Yields the index of the word that holds the value, the field's path and the value."""
  for index, (word, following) in enumerate(itertools.pairwise([*words, None])):
    if word is None or word == "--":
      return
    if not word.startswith(("--config.", "-config.")):
      continue
    path, equals, value = word.lstrip("-")[len("config.") :].partition("=")
    yield (index, path, value) if equals else (index + 1, path, following)


def check_overrides(words: list[str], kind: type) -> list[str]:
  """Checks each `--config.path=value` against the dataclass before anything is built.

  Returns:
    The words with every number spelled out: `--config.steps=1k` becomes `--config.steps=1000`.

  Raises:
    UserError: for an unknown field, naming the nearest one, or a value of the wrong type.
  """
  words = list(words)
  for index, path, value in list(_placed_overrides(words)):
    plain = _plain_value(path, value, _field_type(path, kind))
    words[index] = words[index].removesuffix(value or "") + plain
  return words


def _field_type(path: str, kind: type) -> Any:
  here: Any = kind
  for name in path.split("."):
    fields = {f.name: f.type for f in dataclasses.fields(here)} if dataclasses.is_dataclass(here) else {}
    if name not in fields:
      raise UserError(f"config has no field {path!r}; {_nearest(path, kind)}")
    here = fields[name]
  return here


def _nearest(path: str, kind: type) -> str:
  """Returns which field was meant, or the groups and fields at the top where none is alike."""
  known, leaf = list(_paths(kind)), path.split(".")[-1]
  if OTHER_NAMES.get(leaf) in known:
    return f"the nearest is --config.{OTHER_NAMES[leaf]}"
  by_leaf = [other for other in known if difflib.get_close_matches(leaf, [other.split(".")[-1]], 1, LIKE)]
  found = difflib.get_close_matches(path, by_leaf or known, 1, 0.0 if by_leaf else LIKE)
  if found:
    return f"the nearest is --config.{found[0]}"
  return f"it has {', '.join(field.name for field in dataclasses.fields(kind))}"  # type: ignore[arg-type]


def _paths(kind: type, prefix: str = "") -> dict[str, Any]:
  found: dict[str, Any] = {}
  for field in dataclasses.fields(kind):
    if dataclasses.is_dataclass(field.type):
      found |= _paths(field.type, f"{prefix}{field.name}.")  # type: ignore[arg-type]
    else:
      found[prefix + field.name] = field.type
  return found


def _plain_value(path: str, value: str | None, kind: Any) -> str:
  """Returns the value as the config's own parser reads it; numbers may carry units."""
  if dataclasses.is_dataclass(kind):
    raise UserError(
      f"--config.{path} is a group of fields; set one of them, as in --config.{path}.NAME=VALUE"
    )
  if value is None:
    raise UserError(f"--config.{path} is given no value; write --config.{path}=VALUE")
  given = f"--config.{path}={quantities.shortened(value)}"
  try:
    if kind is bool and value.lower() not in ("true", "false", "1", "0"):
      raise UserError(f"{given}: the value must be of type bool, true or false")
    if kind is int:
      return str(quantities.integer(value, -quantities.MAX_INTEGER))
    if kind is float:
      return repr(quantities.number(value))
    if get_origin(kind) is tuple:
      return repr(_tuple(quantities.literal(value), kind))
  except TypeError:
    raise UserError(f"{given}: the value must be a tuple such as {_example(kind)}") from None
  except (SyntaxError, ValueError) as error:
    if isinstance(error, UserError):
      raise
    if kind in (int, float):
      raise UserError(f"{given}: the value must be of type {kind.__name__}; {error}") from None
    raise UserError(f"{given}: the value must be a tuple such as {_example(kind)}") from None
  return value


def _example(kind: Any) -> str:
  return "((1, 2), (3, 4))" if get_origin(get_args(kind)[0]) is tuple else "(1, 2)"


def _tuple(value: Any, kind: Any) -> tuple[Any, ...]:
  """Returns a literal as a tuple of that kind; whole numbers may be written as 1e3.

  Raises:
    TypeError: if it is no such tuple.
  """
  if not isinstance(value, (tuple, list)):
    raise TypeError(value)
  inner = get_args(kind)[0]
  if get_origin(inner) is tuple:
    return tuple(_tuple(item, inner) for item in value)
  return tuple(_item(item, inner) for item in value)


def _item(item: Any, kind: type) -> Any:
  if kind is int and isinstance(item, float) and item.is_integer():
    return int(item)
  whole = isinstance(item, int) and not isinstance(item, bool)
  if kind is float and (whole or (isinstance(item, float) and math.isfinite(item))):
    return item
  if kind is int and whole and abs(item) <= quantities.MAX_INTEGER:
    return item
  if kind not in (int, float) and isinstance(item, kind):
    return item
  raise TypeError(item)


def give_simulated_devices_threads() -> None:
  """Where devices are simulated, asks XLA for threads enough; to be called before jax has any device.

  XLA's pool has a thread a core or a device, whichever is more. A device that waits for the others in a collective
  holds one, and with several collectives under way none is left for those that are waited for.
  """
  simulated = re.search(r"xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
  if simulated:
    os.environ.setdefault("NPROC", str(THREADS_A_DEVICE * int(simulated[1])))


def _quiet_compiler_for_gpus() -> None:
  """Keeps jax from warning of CUDA where only its compiler is installed (the extra `absent-gpus`)."""
  if not importlib.util.find_spec("jax_plugins"):
    return
  if importlib.util.find_spec("jax_plugins.xla_cuda12") and not importlib.util.find_spec("jax_cuda12_plugin"):
    logging.getLogger("jax_plugins.xla_cuda12").setLevel(logging.ERROR)
    logging.getLogger("jax._src.xla_bridge").addFilter(lambda record: "xla_cuda12" not in record.getMessage())


def _start_again_with_allocator() -> None:
  """Replaces this process by itself with the allocator's settings, where glibc offers them and nobody has set any."""
  tunables = os.environ.get("GLIBC_TUNABLES", "")
  if platform.libc_ver()[0] != "glibc" or _with_allocator(tunables) == tunables:
    return
  environment = os.environ | {"GLIBC_TUNABLES": _with_allocator(tunables)}
  sys.stdout.flush()
  os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _with_allocator(tunables: str) -> str:
  """Returns the tunables with those of `ALLOCATOR`; a user who speaks of huge pages has the last word on all."""
  if "glibc.malloc.hugetlb" in tunables:
    return tunables
  return ":".join(
    [*filter(None, [tunables]), *(one for one in ALLOCATOR if one.split("=")[0] not in tunables)]
  )


def worker_environment(cores: int = 1) -> dict[str, str]:
  """Returns the environment of a worker process that has so many cores to itself."""
  environment = dict(os.environ)
  environment["GLIBC_TUNABLES"] = _with_allocator(environment.get("GLIBC_TUNABLES", ""))
  for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    environment[name] = str(cores)
  environment["PYTHONUNBUFFERED"] = "1"
  return environment


def compilation_cache(folder: str | os.PathLike[str]) -> None:
  """Keeps compiled programs in a folder, each under a checksum, so that the next process need not compile them."""
  from gen import compiled_programs

  compiled_programs.keep_in(folder)


__all__ = [
  "check_overrides",
  "compilation_cache",
  "give_simulated_devices_threads",
  "main",
  "overrides",
  "worker_environment",
]
