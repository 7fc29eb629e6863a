"""Where an experiment writes, checked while its flags are parsed: before anything is computed.

`DEFINE_file` and `DEFINE_folder` are absl flags whose value is checked at once: a folder that is missing, a file where
a folder is needed, a name that the file system refuses, or a place that cannot be written is one sentence.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from absl import flags

from gen.io import quantities

flags.disclaim_key_flags()  # They are the experiment's that defines them, so that its --help shows them.

STANDARD_OUTPUT = "-"
MAX_PATH = 200  # characters of a path that an error repeats: the end of a path says most
JSON_HELP = "Also write the results as JSON to this file; - writes only JSON to standard output."
_reserved: list[TextIO] = []  # standard output, while it is for JSON alone


def check_file(text: str, suffixes: tuple[str, ...] = ()) -> None:
  """Checks that a file can be written, without writing it.

  Args:
    text: its path; empty means none, - standard output.
    suffixes: allowed endings of its name; none allows all.

  Raises:
    ValueError: one clause that says what is wrong and what to do.
  """
  if not text or text == STANDARD_OUTPUT:
    return
  path, shown = Path(text), _shown(text)
  if _exists(path, shown) and path.is_dir():
    raise ValueError(f"{shown} is a folder; name a file")
  if text.endswith("/"):
    raise ValueError(f"{shown} ends like a folder; name a file")
  if suffixes and path.suffix.lower() not in suffixes:
    raise ValueError(f"{shown} must end in {' or '.join(suffixes)}")
  parent = path.absolute().parent
  if not parent.is_dir():
    what = "is a file" if parent.exists() else "does not exist"
    raise ValueError(f"{shown} is in {_shown(str(parent))}, which {what}; make that folder first")
  if path.exists() and not path.is_file() and not path.is_char_device() and not path.is_fifo():
    raise ValueError(f"{shown} is no ordinary file; name another one")
  if not os.access(path if path.exists() else parent, os.W_OK):
    raise ValueError(f"{shown} cannot be written; choose another place")


def check_folder(text: str) -> None:
  """Checks that a folder can be made, or written if it is there, without making it.

  Args:
    text: its path; empty means that the experiment chooses.

  Raises:
    ValueError: one clause that says what is wrong and what to do.
  """
  if not text:
    return
  path, shown = Path(text), _shown(text)
  if _exists(path, shown) and not path.is_dir():
    raise ValueError(f"{shown} is a file; name a folder")
  nearest = path.absolute()
  while not nearest.exists() and nearest != nearest.parent:
    nearest = nearest.parent
  if not nearest.is_dir():
    raise ValueError(f"{shown} lies below {_shown(str(nearest))}, which is a file; name another folder")
  if not os.access(nearest, os.W_OK | os.X_OK):
    raise ValueError(f"{shown} cannot be written; choose another folder")


def _shown(path: str) -> str:
  return quantities.shorten_text(path, MAX_PATH)


def _exists(path: Path, shown: str) -> bool:
  try:
    path.lstat()
  except (FileNotFoundError, NotADirectoryError):
    return False
  except (OSError, ValueError) as error:  # a name too long, a null byte
    reason = error.strerror if isinstance(error, OSError) else str(error)
    raise ValueError(f"{shown} cannot be a path: {reason}") from error
  return True


class FileParser(flags.ArgumentParser[str]):
  """Parses a flag's file to write."""

  syntactic_help = "a file to write"

  def __init__(self, suffixes: tuple[str, ...] = (), standard_output: bool = False) -> None:
    """Sets the allowed suffixes of the file's name, and whether - is standard output."""
    super().__init__()
    self.suffixes, self.standard_output = suffixes, standard_output

  def parse(self, argument: Any) -> str:
    """Returns the path; raises ValueError if it cannot be written."""
    if str(argument) == STANDARD_OUTPUT and not self.standard_output:
      raise ValueError("- is no file; name a file (only JSON goes to standard output)")
    check_file(str(argument), self.suffixes)
    return str(argument)

  def flag_type(self) -> str:
    """Returns the name of the type in the help."""
    return "file"


class FolderParser(flags.ArgumentParser[str]):
  """Parses a flag's folder to write."""

  syntactic_help = "a folder to write"

  def parse(self, argument: Any) -> str:
    """Returns the path; raises ValueError if it cannot be made or written."""
    check_folder(str(argument))
    return str(argument)

  def flag_type(self) -> str:
    """Returns the name of the type in the help."""
    return "folder"


def DEFINE_file(
  name: str,
  default: str | None,
  help: str,
  suffixes: tuple[str, ...] = (),
  standard_output: bool = False,
) -> flags.FlagHolder[str]:
  """Defines a flag that names a file to write; empty is none, and `-` is standard output where that is allowed."""
  return flags.DEFINE(FileParser(suffixes, standard_output), name, default, help)  # type: ignore[return-value]


def DEFINE_folder(name: str, default: str | None, help: str) -> flags.FlagHolder[str]:
  """Defines a flag that names a folder to write; empty leaves the choice to the experiment."""
  return flags.DEFINE(FolderParser(), name, default, help)  # type: ignore[return-value]


def DEFINE_json() -> flags.FlagHolder[str]:
  """Defines `--json`, with the same meaning in every experiment."""
  return DEFINE_file("json", "", JSON_HELP, standard_output=True)


@contextlib.contextmanager
def json_alone(asked: str | None) -> Iterator[None]:
  """Keeps standard output for JSON where `--json=-` asks for it; whatever else is printed goes to standard error."""
  if asked != STANDARD_OUTPUT:
    yield
    return
  _reserved.append(sys.stdout)
  try:
    with contextlib.redirect_stdout(sys.stderr):
      yield
  finally:
    _reserved.pop()


def json_stream() -> TextIO:
  """Returns the stream that `--json=-` writes to."""
  return _reserved[-1] if _reserved else sys.stdout
