"""Objects of the user's own code, named in a config: `package.module:name` or `path/to/file.py:name`.

The name travels in the config, so that every process that trains the run imports the same object. The checksum of its
source is part of the run's identity, so that edited code is another run.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from gen.errors import UserError

_FILE_MODULE = "gen_user_code_"  # names of modules made from files; no other process can import them by it


def is_reference(text: str) -> bool:
  """Returns whether a config value names an object of the user's own code.

  >>> is_reference("mypackage.muon:Muon"), is_reference("adamw")
  (True, False)
  """
  module, colon, name = text.rpartition(":")
  return bool(colon and module and name.isidentifier())


def load_object(reference: str, field: str) -> Any:
  """Imports the object that a config field names.

  Args:
    reference: `package.module:name`, found from the current folder as well, or `path/to/file.py:name`.
    field: the config field, for errors.

  Raises:
    UserError: if the module cannot be found or imported, or has no such name.
  """
  where, _, name = reference.rpartition(":")
  module = _load_file(where, field) if where.endswith(".py") else _load_module(where, field)
  try:
    return getattr(module, name)
  except AttributeError:
    raise UserError(
      f"{field} is {reference!r}, but {where} has no {name!r}; it has {_public_names(module)}"
    ) from None


@contextlib.contextmanager
def errors_of(what: str) -> Iterator[None]:
  """Raises an error of the user's own code as one sentence that says what failed, and in which line.

  Args:
    what: the field and the reference, as the sentence begins.

  Raises:
    UserError: for any error in the block.
  """
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    lines = [
      frame for frame in traceback.extract_tb(error.__traceback__) if not _is_installed(Path(frame.filename))
    ]
    at = f" (line {lines[-1].lineno} of {lines[-1].filename})" if lines else ""
    text = " ".join(str(error).split())
    raise UserError(f"{what} failed: {type(error).__name__}: {text[:300]}{at}") from error


def _load_module(where: str, field: str) -> ModuleType:
  if str(Path.cwd()) not in sys.path and "" not in sys.path:
    sys.path.append(str(Path.cwd()))
  try:
    return importlib.import_module(where)
  except ModuleNotFoundError as error:
    if error.name and (where == error.name or where.startswith(error.name + ".")):
      raise UserError(
        f"{field} names the module {where!r}, which cannot be found; run in its folder, install it, or write "
        "path/to/file.py:name"
      ) from None
    raise UserError(f"{field}: the module {where!r} cannot be imported: {error}") from error
  except Exception as error:
    raise UserError(
      f"{field}: the module {where!r} cannot be imported: {type(error).__name__}: {error}"
    ) from error


def _load_file(where: str, field: str) -> ModuleType:
  """Imports a file, once as long as it does not change; modules beside it can be imported by it."""
  path = Path(where).expanduser().resolve()
  try:
    source = path.read_bytes()
  except OSError as error:
    raise UserError(f"{field} names the file {where}, which cannot be read ({error.strerror})") from None
  name = f"{_FILE_MODULE}{hashlib.sha256(str(path).encode() + source).hexdigest()[:12]}"
  if name in sys.modules:
    return sys.modules[name]
  spec = importlib.util.spec_from_file_location(name, path)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module
  if str(path.parent) not in sys.path:
    sys.path.append(str(path.parent))
  try:
    # Compiled from what was read: a cached .pyc counts as fresh after an edit of the same size within one second.
    exec(compile(source, str(path), "exec"), vars(module))
  except Exception as error:
    del sys.modules[name]
    raise UserError(f"{field}: {where} cannot be imported: {type(error).__name__}: {error}") from error
  return module


def _public_names(module: ModuleType) -> str:
  names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
  return ", ".join(names[:12]) or "no public names"


def reference_to(thing: Any, field: str) -> str:
  """Returns the reference by which other processes can import a function or class.

  Raises:
    UserError: for an object without a name at the top level of a file, such as a lambda.
  """
  name = getattr(thing, "__qualname__", "")
  path = _source_file(thing)
  if not name.isidentifier() or path is None:
    raise UserError(
      f"{field} is {thing!r:.80}, which no other process can import; define it with a name at the top level of a file"
    )
  if _imports_from(thing.__module__, name, Path(path)):
    return f"{thing.__module__}:{name}"
  file = Path(path).resolve()
  return f"{file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}:{name}"


def _source_file(thing: Any) -> str | None:
  """Returns the file that defines a function or class, also where its module is not registered, as a config file's."""
  with contextlib.suppress(TypeError, OSError):
    return inspect.getsourcefile(thing)
  members = getattr(thing, "__dict__", {}).values()
  methods = (inspect.unwrap(value) for value in members if inspect.isfunction(value))
  files = (method.__code__.co_filename for method in methods)
  return next((file for file in files if Path(file).is_file()), None)


def _imports_from(module: str, name: str, path: Path) -> bool:
  """Returns whether a new process that imports a module by its name finds the object in this file."""
  if module == "__main__" or module.startswith(_FILE_MODULE) or not hasattr(sys.modules.get(module), name):
    return False
  try:
    spec = importlib.util.find_spec(module)
  except (ImportError, ValueError):
    return False
  return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path.resolve()


def source_checksum(reference: str, field: str) -> str:
  """Returns a SHA-256 of the source that defines an object.

  It covers the object's file and, for code that is not installed, every loaded module below the same folder that the
  file imports, directly or not.

  Raises:
    UserError: as `load_object`.
  """
  thing = load_object(reference, field)
  where = reference.rpartition(":")[0]
  start = _load_file(where, field) if where.endswith(".py") else sys.modules[where]
  try:
    defining = inspect.getsourcefile(inspect.unwrap(thing))
  except TypeError:
    defining = None
  files = {Path(defining)} if defining else set()
  if start.__file__:
    files |= _local_files(start)
  digest = hashlib.sha256()
  for path in sorted(files, key=lambda path: (path.name, path)):
    digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
  return digest.hexdigest()


def _local_files(module: ModuleType) -> set[Path]:
  """Returns the files of a module and of what it imports from below its folder."""
  assert module.__file__ is not None
  root = Path(module.__file__).resolve().parent
  files: set[Path] = set()
  pending = [module]
  while pending:
    current = pending.pop()
    file = getattr(current, "__file__", None)
    if not file or _is_installed(Path(file)):
      continue
    path = Path(file).resolve()
    if path in files or path.suffix != ".py" or not path.is_relative_to(root):
      continue
    files.add(path)
    for value in vars(current).values():
      owner = (
        value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", "") or "")
      )
      if owner is not None:
        pending.append(owner)
  return files


def _is_installed(path: Path) -> bool:
  folders = [*site.getsitepackages(), sysconfig.get_paths()["stdlib"]]
  return any(path.is_relative_to(folder) for folder in folders)
