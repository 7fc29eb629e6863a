"""The corpus `environment`: text of the packages that `gen` depends on, as they are installed.

It needs no download, and it changes with every version of a package or of Python. A document is a file: its docstrings,
or with `code` its whole source (which holds the docstrings too). Excluded are:

- `gen` itself and packages that only development needs;
- tests, and vendored code of other packages (`_vendor`, `third_party`, ...);
- generated files, by name (`_pb2.py`, `_ops_gen.py`) or by "generated" and "do not edit" at their top;
- files that are not UTF-8; repeated docstrings; documents under 200 characters.
"""

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from gen import versions
from gen.data.document import Document
from gen.data.sources.python_packages import docstrings
from gen.errors import UserError
from gen.io import cores

PROJECT = versions.DISTRIBUTION
# About three lines; shorter docstrings are a summary alone.
MIN_CHARACTERS = 200
KINDS = ("docstrings", "code")

_JUNK = re.compile(
  r"(^|/)(tests?|testing|_?vendor|_?vendored|third_party|_?externals?|node_modules)/"
  r"|(^|/)(test_[^/]*|[^/]*_tests?|conftest|[^/]*_pb2(_grpc)?|[^/]*_(ops|enum)_gen)\.py$"
)
_GENERATED = re.compile(
  rb"generated.{0,200}do not (edit|modify)|do not (edit|modify).{0,200}generated", re.I | re.S
)
_HEAD = 600  # bytes at the top of a file that are searched for the mark of generated code


def dependency_distributions() -> list[importlib.metadata.Distribution]:
  """Returns the installed runtime dependencies of `gen`, direct and indirect, sorted by name, without `gen`.

  Raises:
    UserError: if `gen` or one of them is not installed.
  """
  extras_of: dict[str, set[str]] = {}
  distributions: dict[str, importlib.metadata.Distribution] = {}
  waiting: list[tuple[str, set[str], str]] = [(PROJECT, set(), "the environment corpus")]
  while waiting:
    name, extras, wanted_by = waiting.pop()
    name = re.sub(r"[-_.]+", "-", name).lower()
    known_extras = extras_of.get(name)
    if known_extras is not None and extras <= known_extras:
      continue
    extras_of[name] = extras | (known_extras or set())
    distributions[name] = _distribution(name, wanted_by)
    for line in distributions[name].requires or []:
      requirement = Requirement(line)
      if _applies(requirement, extras_of[name]):
        waiting.append((requirement.name, set(requirement.extras), name))
  del distributions[PROJECT]
  return [distributions[name] for name in sorted(distributions)]


def _distribution(name: str, wanted_by: str) -> importlib.metadata.Distribution:
  try:
    return importlib.metadata.distribution(name)
  except importlib.metadata.PackageNotFoundError:
    raise UserError(
      f"package {name!r} is not installed, but {wanted_by} needs it; install {PROJECT} with its dependencies"
    ) from None


def _applies(requirement: Requirement, extras: set[str]) -> bool:
  if requirement.marker is None:
    return True
  return any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *sorted(extras)))


def corpus_pins() -> list[str]:
  """Returns what identifies the corpus: `name==version` of each package, and the version of Python."""
  names = [f"{item.metadata['Name']}=={item.version}" for item in dependency_distributions()]
  return [f"python=={sys.version_info.major}.{sys.version_info.minor}", *names]


def python_files() -> list[tuple[str, Path]]:
  """Returns (name, path) of each Python file that the corpus reads, sorted by name."""
  files: dict[str, Path] = {}
  for distribution in dependency_distributions():
    for file in distribution.files or []:
      name = file.as_posix()
      if file.suffix == ".py" and not name.startswith("../") and not _JUNK.search(name):
        files[name] = Path(str(file.locate()))
  return sorted(item for item in files.items() if item[1].is_file() and not _is_generated(item[1]))


def is_documented(name: str, content: bytes) -> bool:
  """Returns whether a Python file's docstrings are read: not of tests, foreign code or generated files."""
  return not _JUNK.search(name) and not _GENERATED.search(content[:_HEAD])


def _is_generated(path: Path) -> bool:
  with path.open("rb") as stream:
    return _GENERATED.search(stream.read(_HEAD)) is not None


def read_documents(kind: str = "docstrings") -> Iterator[Document]:
  """Yields one document per file, in order of name.

  Raises:
    UserError: for an unknown kind, or if `gen` is not installed.
  """
  if kind not in KINDS:
    raise UserError(
      f"there is no data.corpus 'environment:{kind}'; write environment:{' or environment:'.join(KINDS)}"
    )
  documents = _sources() if kind == "code" else _docstrings()
  for document in documents:
    if len(document.text) >= MIN_CHARACTERS:
      yield document


def _sources() -> Iterator[Document]:
  for name, path in python_files():
    try:
      yield Document(name, path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError:
      continue


def _docstrings() -> Iterator[Document]:
  named = python_files()
  seen: set[str] = set()
  for (name, _), texts in zip(
    named,
    docstrings.docstrings_of_files([str(path) for _, path in named], cores.available_cores()),
    strict=True,
  ):
    fresh = [text for text in dict.fromkeys(texts) if text and text not in seen and is_encodable(text)]
    seen.update(fresh)
    yield Document(name, "\n\n".join(fresh) + "\n")


def is_encodable(text: str) -> bool:
  """Returns whether UTF-8 can encode the text: an escape in a docstring may be half of a surrogate pair."""
  try:
    text.encode()
  except UnicodeEncodeError:
    return False
  return True
