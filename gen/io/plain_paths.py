"""A plain path to any folder, for libraries that interpret characters of a path.

orbax globs the folder that it saves in, so `[`, `*` and `?` in its path match other names or none. tensorstore treats a
backslash as a separator and refuses bytes that are not UTF-8. Neither has a way to escape them. So such a folder is
opened once, and the libraries get the path of its file descriptor.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gen.errors import UserError

# Letters that no shell, glob or URL gives a meaning of its own.
_PLAIN = re.compile(r"[A-Za-z0-9_./=+,@-]+")
DESCRIPTORS = Path("/proc/self/fd")  # on Linux: links to all open files


def is_plain(path: Path) -> bool:
  """Returns whether all libraries read a path in the same way.

  >>> is_plain(Path("/runs/width=64")), is_plain(Path("/runs/width=[16,64]"))
  (True, False)
  """
  return bool(_PLAIN.fullmatch(str(path)))


@contextlib.contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
  """Yields a plain path to an existing folder, which is valid until the context ends.

  If the folder's own path is plain, it is yielded unchanged.

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
  """Checks that `plain_path` will work for a folder, which need not exist yet.

  Raises:
    UserError: if it will not.
  """
  if not is_plain(folder.absolute()) and not DESCRIPTORS.is_dir():
    with _linked(folder.absolute()):
      pass


@contextlib.contextmanager
def _linked(folder: Path) -> Iterator[Path]:
  """Yields a symbolic link to the folder, in a temporary folder."""
  with contextlib.ExitStack() as stack:
    try:
      temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gen-")))
      link = temporary / "folder"
      link.symlink_to(folder, target_is_directory=True)
    except OSError as error:
      raise _no_link(folder, error.strerror or "the link cannot be created") from error
    if not is_plain(temporary):
      raise _no_link(folder, f"the path of the temporary folder {temporary} has such characters too")
    yield link


def _no_link(folder: Path, reason: str) -> UserError:
  return UserError(
    f"checkpoints cannot be saved in {folder}: characters other than letters, digits and _./=+,@- in its path need a "
    f"link in a temporary folder ({reason}); choose another folder, or set TMPDIR"
  )
