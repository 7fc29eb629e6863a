"""Help on the fields of a config, read from the dataclasses: path, type, default, and the comment as meaning."""

import dataclasses
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator
from typing import Any, NamedTuple

INDENT = 6  # columns before a field's meaning


class FieldHelp(NamedTuple):
  """What `--help` prints of one field.

  Attributes:
    path: as in `--config.PATH=VALUE`.
    kind: its type, as written in a config file.
    default: its value in the config at hand, as Python writes it.
    meaning: the comment beside the field; empty if there is none.
  """

  path: str
  kind: str
  default: str
  meaning: str


def field_comments(kind: type) -> dict[str, str]:
  """Returns the comment of each field that a dataclass itself declares.

  A comment stands at the end of the field's line, or alone on the lines above the field.

  Args:
    kind: a dataclass whose source can be read.
  """
  lines = inspect.getsource(kind)
  notes: dict[int, str] = {}
  alone: set[int] = set()
  for token in tokenize.generate_tokens(io.StringIO(lines).readline):
    if token.type == tokenize.COMMENT:
      notes[token.start[0]] = token.string.lstrip("# ").strip()
      if not token.line[: token.start[1]].strip():
        alone.add(token.start[0])
  meanings = {}
  for name, first, last in _declarations(kind, lines):
    beside = [notes[line] for line in range(first, last + 1) if line in notes]
    above: list[str] = []
    line = first - 1
    while line in alone:
      above.insert(0, notes[line])
      line -= 1
    meanings[name] = " ".join(above + beside)
  return meanings


def _declarations(kind: type, source: str) -> Iterator[tuple[str, int, int]]:
  """Yields (name, first line, last line) of each annotated field, lines counted from 1 in the class's source."""
  import ast

  tree = ast.parse(textwrap.dedent(source)).body[0]
  assert isinstance(tree, ast.ClassDef), kind
  for node in tree.body:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
      yield node.target.id, node.lineno, node.end_lineno or node.lineno


def _all_comments(kind: type) -> dict[str, str]:
  """Returns the comments of a dataclass and of those that it extends."""
  comments: dict[str, str] = {}
  for part in reversed(kind.__mro__):
    if dataclasses.is_dataclass(part) and part.__module__ != "builtins":
      comments |= {name: text for name, text in field_comments(part).items() if text or name not in comments}
  return comments


def field_rows(kind: type, values: Any = None, prefix: str = "") -> Iterator[FieldHelp]:
  """Yields the help of every field of a config, nested ones after the plain ones of their group.

  Args:
    kind: the dataclass.
    values: a config of that kind whose values are shown as defaults; None shows the dataclass's own.
    prefix: put before each path.
  """
  values = kind() if values is None else values
  meanings = _all_comments(kind)
  groups = []
  for field in dataclasses.fields(kind):
    value = getattr(values, field.name)
    if dataclasses.is_dataclass(field.type):
      groups.append((field, value))
      continue
    name = (
      getattr(field.type, "__name__", str(field.type)) if isinstance(field.type, type) else str(field.type)
    )
    name = "tuple" if name.startswith("tuple") else name
    yield FieldHelp(prefix + field.name, name, repr(value), meanings.get(field.name, ""))
  for field, value in groups:
    yield from field_rows(field.type, value, f"{prefix}{field.name}.")  # type: ignore[arg-type]


def help_lines(kind: type, values: Any = None, width: int = 100) -> Iterator[str]:
  """Yields the text of `--help` about a config: groups, and each field with its type, default and meaning.

  Args:
    kind: the dataclass.
    values: as of `field_rows`.
    width: columns.
  """
  group = None
  yield f"Fields of the config ({kind.__name__}), each set by --config.FIELD=VALUE:"
  for row in field_rows(kind, values):
    head = row.path.rpartition(".")[0]
    if head != group:
      group = head
      yield ""
      yield f"  --config.{head}.*" if head else "  --config.*"
    yield f"    --config.{row.path}  ({row.kind}, default {_short(row.default)})"
    if row.meaning:
      pad = " " * INDENT
      yield from textwrap.wrap(row.meaning, max(width, 40), initial_indent=pad, subsequent_indent=pad)


def _short(text: str, max_length: int = 60) -> str:
  return text if len(text) <= max_length else text[: max_length - 3] + "..."
