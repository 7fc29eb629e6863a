"""How an experiment starts: flags, config overrides, environment, and errors in one sentence.

`run_experiment` parses the command line, sets the allocator's variables and calls the experiment's main function
(`gen/cli/environment.py` says why training on a CPU needs them). A UserError ends the process with exit code 2.
"""

import itertools
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable

from absl import app, flags

from gen.cli import field_help, terminal
from gen.cli.environment import give_simulated_devices_threads, quiet_gpu_compiler, restart_with_allocator
from gen.cli.overrides import check_overrides, is_of_kind
from gen.errors import UserError
from gen.io import outputs, quantities

USER_MISTAKE = 2  # exit code
# Exit code of a shell's child that SIGINT ended: 128 + 2.
INTERRUPTED = 130
LONGEST_WORD = 600  # characters of one word that an error repeats: more than most paths have


def run_experiment(
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
    trains: whether the process trains on this machine, and so needs the allocator's settings.
  """
  sys.exit(terminal.run_at_terminal(lambda: _code(function, kind, default, trains)))


def _code(function: Callable[..., int | None], kind: type | None, default: str, trains: bool) -> int:
  try:
    give_simulated_devices_threads()
    quiet_gpu_compiler()
    if trains and not asks_for_help(sys.argv):
      restart_with_allocator()
    if kind is not None:
      from ml_collections import config_flags

      sys.argv[1:] = check_overrides(sys.argv[1:], kind)
      holder = config_flags.DEFINE_config_file(
        "config", _own_file(default), "Python file whose get_config() returns the config."
      )
      _check_file(sys.argv[1:])
    arguments = _parse(sys.argv, kind)
    if len(arguments) > 1:
      raise UserError(f"argument {arguments[1]!r} is not a flag; flags are written --name=value")
    with outputs.json_alone(flags.FLAGS["json"].value if "json" in flags.FLAGS else None):
      code = function() if kind is None else function(is_of_kind(holder.value, kind))
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
      print("\n" + "\n".join(field_help.help_lines(kind, width=shutil.get_terminal_size((100, 24)).columns)))
    sys.exit(0)  # absl ends with 1 when it has helped
  except terminal.OutputError:
    raise
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
  return re.sub(rf"\S{{{longest},}}", lambda word: quantities.shorten_text(word[0]), message)


def _first(error: BaseException) -> BaseException:
  """Returns the exception that an error began with; the flag libraries wrap what a config file raises."""
  while error.__context__ is not None:
    error = error.__context__
  return error


def stop_line(done: int, total: int, folder: str | os.PathLike[str]) -> str:
  """Returns the line that an interrupted experiment prints last: what is saved, and the command that resumes it."""
  return f"stopped: {done} of {total} runs are done and saved in {folder}; to resume: uv run {shlex.join(sys.argv)}"


def asks_for_help(argv: list[str]) -> bool:
  """Returns whether a command line asks for help."""
  return any(word.lstrip("-").split("=")[0] in ("help", "helpfull", "helpshort", "h") for word in argv[1:])


def _own_file(default: str) -> str:
  """Returns the default config's path, the project's own where the working directory has none of that name."""
  own = os.path.join(os.path.dirname(__file__), *[os.pardir] * 2, default)  # noqa: PTH118, PTH120
  return default if os.path.isfile(default) else os.path.normpath(own)  # noqa: PTH113


def _check_file(words: list[str]) -> None:
  for word, following in itertools.pairwise([*words, ""]):
    name, _, value = word.lstrip("-").partition("=")
    if word.startswith("-") and name == "config":
      path = value or following
      if not os.path.isfile(path.partition(":")[0]):  # noqa: PTH113
        raise UserError(f"--config={path}: no such file (the project's own are in configs/)")
