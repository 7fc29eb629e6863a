"""A plain path to any folder, for libraries that read more than bytes into a path.

orbax globs the folder that it saves in, so `[`, `*` and `?` in its path match other names, or none. tensorstore takes a
backslash for a separator and refuses bytes that are not UTF-8. Neither offers a way to escape them. Such a folder is
opened once, and the libraries get its path by that descriptor.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gen.errors import UserError

_PLAIN = re.compile(r"[A-Za-z0-9_./=+,@-]+")
DESCRIPTORS = Path("/proc/self/fd")  # of Linux: a link to each open file


def is_plain(path: Path) -> bool:
  """Returns whether a path means the same to every library.

  >>> is_plain(Path("/runs/width=64")), is_plain(Path("/runs/width=[16,64]"))
  (True, False)
  """
  return bool(_PLAIN.fullmatch(str(path)))


@contextlib.contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
  """Yields a path to an existing folder that means the same to every library; valid until the context ends.

  A folder whose own path is plain is yielded as it is.

  Raises:
    OSError: if the folder cannot be opened.
    UserError: on a system without `/proc`, if no link to the folder can be made.
  """
  folder = folder.absolute()
  if is_plain(folder):
    yield folder
  elif DESCRIPTORS.is_dir():
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
      yield DESCRIPTORS / str(descriptor)
    finally:
      os.close(descriptor)
  else:
    with _linked(folder) as link:
      yield link


def require_plain(folder: Path) -> None:
  """Checks that `plain_path` will find a way to a folder, which need not exist yet.

  Raises:
    UserError: if it will not.
  """
  if not is_plain(folder.absolute()) and not DESCRIPTORS.is_dir():
    with _linked(folder.absolute()):
      pass


@contextlib.contextmanager
def _linked(folder: Path) -> Iterator[Path]:
  """Yields a symbolic link to the folder, in a temporary folder."""
  with contextlib.ExitStack() as made:
    try:
      place = Path(made.enter_context(tempfile.TemporaryDirectory(prefix="gen-")))
      link = place / "folder"
      link.symlink_to(folder, target_is_directory=True)
    except OSError as error:
      raise _refusal(folder, error.strerror or "the link cannot be made") from error
    if not is_plain(place):
      raise _refusal(folder, f"the path of the temporary folder {place} has such characters too")
    yield link


def _refusal(folder: Path, reason: str) -> UserError:
  return UserError(
    f"checkpoints cannot be saved in {folder}: characters other than letters, digits and _./=+,@- in its path need a "
    f"link in a temporary folder ({reason}); choose another folder, or set TMPDIR"
  )
