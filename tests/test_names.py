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
  "data/sources/compressed.decompress",
  "generation/decode.generate",
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
