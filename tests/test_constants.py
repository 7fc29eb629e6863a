"""Each number that a module or a config chooses has a comment: its source, its unit, or why it was chosen."""

import ast
import io
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLAIN = {-1, 0, 1, 2}  # numbers that need no reason
CONFIGS = sorted((ROOT / "gen/config").glob("*.py"))


def numbers(node):
  """Returns the numbers that an expression is made of: literals, their signs and sums, containers and arguments."""
  if isinstance(node, ast.Constant):
    return [node.value] if type(node.value) in (int, float) else []
  if isinstance(node, ast.UnaryOp):
    sign = -1 if isinstance(node.op, ast.USub) else 1
    return [sign * value for value in numbers(node.operand)]
  if isinstance(node, ast.BinOp):
    # A power or a product of small numbers, such as 2**20, is no small number; a union of types has none.
    values = [*numbers(node.left), *numbers(node.right)]
    return [*values, 10] if values else []
  if isinstance(node, ast.Dict):
    return [value for part in (*node.keys, *node.values) if part for value in numbers(part)]
  if isinstance(node, ast.Tuple | ast.List | ast.Set):
    return [value for part in node.elts for value in numbers(part)]
  if isinstance(node, ast.Call):
    parts = [*node.args, *(keyword.value for keyword in node.keywords)]
    return [value for part in parts for value in numbers(part)]
  return []


def is_chosen(node):
  """Returns whether a statement assigns a number that a reader could ask about."""
  if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
    return False
  return any(value not in PLAIN for value in numbers(node.value))


def comment_lines(text):
  """Returns {line: whether the comment stands alone} of the comments of a module."""
  tokens = tokenize.generate_tokens(io.StringIO(text).readline)
  return {
    token.start[0]: not token.line[: token.start[1]].strip()
    for token in tokens
    if token.type == tokenize.COMMENT
  }


def bare_constants(text):
  """Returns the lines of a module's constants that have no comment beside, within or directly above them."""
  comments = comment_lines(text)
  return [
    node.lineno
    for node in ast.parse(text).body
    if is_chosen(node)
    and not comments.get(node.lineno - 1)
    and not any(line in comments for line in range(node.lineno, node.end_lineno + 1))
  ]


def bare_defaults(text):
  """Returns the lines of numeric defaults in a module's classes that have no comment and stand below no docstring's."""
  comments = comment_lines(text)
  fields = [
    node
    for kind in ast.parse(text).body
    if isinstance(kind, ast.ClassDef)
    for node in kind.body
    if isinstance(node, ast.AnnAssign) and is_chosen(node)
  ]
  return [
    node.lineno
    for node in fields
    if not comments.get(node.lineno - 1)
    and not any(line in comments for line in range(node.lineno, node.end_lineno + 1))
  ]


def test_a_constant_has_its_source_or_its_reason():
  bare = {
    f"{path.relative_to(ROOT)}:{line}"
    for path in sorted((ROOT / "gen").rglob("*.py"))
    for line in bare_constants(path.read_text())
  }
  assert not bare, "say above the line where the number comes from, or why it was chosen"


def test_a_default_of_a_config_has_its_meaning_or_its_source():
  bare = {f"{path.relative_to(ROOT)}:{line}" for path in CONFIGS for line in bare_defaults(path.read_text())}
  assert not bare


def test_a_bare_number_is_seen():
  for text in (
    "A = 3",
    "A: float = -0.5",
    "A = 2**20",
    "A = f(1, x=7)",
    "A = {'b': (1, 4)}",
    "# Why.\n\nA = 3",
  ):
    assert bare_constants(text), text
  assert bare_defaults("class A:\n  b: float = 0.98\n  c: int = 1") == [2]


def test_a_reason_beside_or_above_is_seen_and_plain_numbers_need_none():
  for text in (
    "A = 3  # why",
    "# Why.\nA = 3",
    "A = (  # why\n  3,\n)",
    "A = 2",
    "A = -1.0",
    "A = B | None",
    "A = True",
  ):
    assert not bare_constants(text), text
  assert not bare_defaults("class A:\n  # Why.\n  b: float = 0.98\n  c: int = 4  # why")
