"""A name stands for one thing: no class name twice, and a function's name says with its module what it does."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
# With their module these say what they do, in the words of the field: `isoflop.fit`, `decode.generate`.
ONE_WORD = {
  "api.audit",
  "api.count",
  "api.fit",
  "api.generate",
  "api.load",
  "api.plan",
  "api.train",
  "data/sources/file_formats/compressed.decompress",
  "finetuning/api.finetune",
  "finetuning/api.predict",
  "generation/decoding/decode.generate",
  "generation/text.detokenize",
  "kernels/gradients.matmul",
  "kernels/gradients.normalize",
  "models/layers.shard",
  "scaling/laws/envelope.fit",
  "scaling/laws/isoflop.fit",
  "scaling/laws/parametric.fit",
}


def modules():
  """Yields (name, syntax tree) of each module of gen."""
  for path in sorted((ROOT / "gen").rglob("*.py")):
    yield path.relative_to(ROOT / "gen").with_suffix("").as_posix(), ast.parse(path.read_text())


def repeated_classes(trees):
  """Returns {class name: modules} of the names that several classes have, nested and private ones included."""
  places = defaultdict(list)
  for module, tree in trees:
    for node in ast.walk(tree):
      if isinstance(node, ast.ClassDef):
        places[node.name].append(module)
  return {name: where for name, where in places.items() if len(where) > 1}


def one_word_functions(trees):
  """Returns the public functions of modules that have a name of one word."""
  return [
    f"{module}.{node.name}"
    for module, tree in trees
    for node in tree.body
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "_" not in node.name
  ]


# Of dictionaries in type hints that say nothing of their values, for 1,000 lines of gen.
MAX_UNTYPED_DICTIONARIES = 1.7
DICTIONARIES = {"Dict", "Mapping", "MutableMapping", "dict"}


def is_named(node, names):
  """Returns whether a node of a type hint is one of these names, with or without a module before it."""
  return getattr(node, "id", getattr(node, "attr", None)) in names


def type_hints(tree):
  """Yields the type hints of a module: of variables, arguments, results, casts, and aliases of dictionaries."""
  for node in ast.walk(tree):
    if isinstance(node, ast.AnnAssign) or (isinstance(node, ast.arg) and node.annotation):
      yield node.annotation
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
      yield node.returns
    elif isinstance(node, ast.Call) and is_named(node.func, {"cast"}):
      yield node.args[0]
    elif isinstance(node, ast.Assign) and is_named(getattr(node.value, "value", None), DICTIONARIES):
      yield node.value


def untyped_dictionaries(tree):
  """Returns how many dictionaries in a module's type hints have values of type Any, or no type of values at all."""
  count = 0
  for hint in type_hints(tree):
    is_text = isinstance(hint, ast.Constant) and isinstance(hint.value, str)
    nodes = list(ast.walk(ast.parse(hint.value, mode="eval") if is_text else hint))
    subscripts = [
      node for node in nodes if isinstance(node, ast.Subscript) and is_named(node.value, DICTIONARIES)
    ]
    typed = {id(node.value) for node in subscripts}
    values = [node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice for node in subscripts]
    count += sum(is_named(value, {"Any"}) for value in values)
    count += sum(is_named(node, DICTIONARIES) and id(node) not in typed for node in nodes)
  return count


def test_dictionaries_say_what_they_hold():
  count = sum(untyped_dictionaries(tree) for _, tree in modules())
  lines = sum(len(path.read_text().splitlines()) for path in (ROOT / "gen").rglob("*.py"))
  assert count / lines * 1000 <= MAX_UNTYPED_DICTIONARIES, "use a dataclass, a NamedTuple or a TypedDict"


def test_an_untyped_dictionary_is_seen():
  for text in (
    "x: dict[str, Any] = {}",
    "def f(x: Mapping[str, typing.Any]): pass",
    "def f() -> list[dict]: pass",
    'def f() -> "dict | None": pass',
    "Json = dict[str, Any]",
    "y = cast(dict[str, Any], x)",
  ):
    assert untyped_dictionaries(ast.parse(text)) == 1, text
  assert untyped_dictionaries(ast.parse("x: dict[str, int] = dict(a=1); y: Mapping[str, object] = x")) == 0


def test_no_two_classes_share_a_name():
  assert repeated_classes(modules()) == {}


def test_a_public_function_says_with_its_module_what_it_does():
  vague = [name for name in one_word_functions(modules()) if name not in ONE_WORD]
  assert not vague, f"name them with a verb and a noun: {vague}"


def test_a_repeated_class_and_a_vague_function_are_seen():
  trees = [
    ("data/corpus", ast.parse("class Row: pass\ndef read(): pass\ndef _draw(): pass")),
    ("models/blocks", ast.parse("class Block:\n  class Row: pass\n  def apply(self): pass")),
  ]
  assert repeated_classes(trees) == {"Row": ["data/corpus", "models/blocks"]}
  assert one_word_functions(trees) == ["data/corpus.read"]
