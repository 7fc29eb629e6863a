"""Output files and folders of an experiment, checked while its flags are parsed, before anything is computed.

`DEFINE_file` and `DEFINE_folder` are absl flags. Their value is checked at once. A missing folder, a file in place of a
folder, a name that the file system refuses, and a path that is not writable are one sentence each.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from absl import flags

from gen.io import quantities

flags.disclaim_key_flags()  # flags count as those of the experiment that defines them, so that its --help shows them

STANDARD_OUTPUT = "-"
MAX_PATH = 200  # characters of a path that an error repeats
JSON_HELP = "Also write the results as JSON to this file; - writes only JSON to standard output."
_reserved: list[TextIO] = []  # standard output, while it is reserved for JSON


def check_file(text: str, suffixes: tuple[str, ...] = ()) -> None:
  """Checks that a file can be written, without writing it.

  Args:
    text: its path; empty means no file, and - means standard output.
    suffixes: allowed endings of its name; an empty tuple allows all.

  Raises:
    ValueError: one clause that says what is wrong and what to do.
  """
  if not text or text == STANDARD_OUTPUT:
    return
  path, excerpt = Path(text), _shorten(text)
  if _exists(path, excerpt) and path.is_dir():
    raise ValueError(f"{excerpt} is a folder; name a file")
  if text.endswith("/"):
    raise ValueError(f"{excerpt} ends like a folder; name a file")
  if suffixes and path.suffix.lower() not in suffixes:
    raise ValueError(f"{excerpt} must end in {' or '.join(suffixes)}")
  parent = path.absolute().parent
  if not parent.is_dir():
    state = "is a file" if parent.exists() else "does not exist"
    raise ValueError(f"{excerpt} is in {_shorten(str(parent))}, which {state}; create that folder first")
  if path.exists() and not path.is_file() and not path.is_char_device() and not path.is_fifo():
    raise ValueError(f"{excerpt} is not an ordinary file; name another one")
  if not os.access(path if path.exists() else parent, os.W_OK):
    raise ValueError(f"{excerpt} is not writable; choose another file")


def check_folder(text: str) -> None:
  """Checks that a folder can be created, or written if it exists, without creating it.

  Args:
    text: its path; empty means that the experiment chooses one.

  Raises:
    ValueError: one clause that says what is wrong and what to do.
  """
  if not text:
    return
  path, excerpt = Path(text), _shorten(text)
  if _exists(path, excerpt) and not path.is_dir():
    raise ValueError(f"{excerpt} is a file; name a folder")
  nearest = path.absolute()
  while not nearest.exists() and nearest != nearest.parent:
    nearest = nearest.parent
  if not nearest.is_dir():
    raise ValueError(f"{excerpt} is below {_shorten(str(nearest))}, which is a file; name another folder")
  if not os.access(nearest, os.W_OK | os.X_OK):
    raise ValueError(f"{excerpt} is not writable; choose another folder")


def _shorten(path: str) -> str:
  return quantities.shorten_text(path, MAX_PATH)


def _exists(path: Path, excerpt: str) -> bool:
  try:
    path.lstat()
  except (FileNotFoundError, NotADirectoryError):
    return False
  except (OSError, ValueError) as error:  # a name that is too long, a null byte
    reason = error.strerror if isinstance(error, OSError) else str(error)
    raise ValueError(f"{excerpt} is not a valid path: {reason}") from error
  return True


class FileParser(flags.ArgumentParser[str]):
  """Parses a flag that names a file to write."""

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
  """Parses a flag that names a folder to write."""

  syntactic_help = "a folder to write"

  def parse(self, argument: Any) -> str:
    """Returns the path; raises ValueError if it cannot be created or written."""
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
def json_alone(path: str | None) -> Iterator[None]:
  """Reserves standard output for JSON if the path is -; everything else that is printed goes to standard error."""
  if path != STANDARD_OUTPUT:
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
