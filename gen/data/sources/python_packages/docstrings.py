"""Extracts the docstrings of Python files; also a worker process that imports nothing but the standard library.

As a script it reads a JSON list of paths on standard input and writes, for each, a JSON list of docstrings. Parsing
holds the interpreter, so several cores need several processes; started by its path, this file costs them no imports.
"""

import ast
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def docstrings_of_source(source: bytes) -> list[str]:
  r"""Returns the docstrings of a module, its classes and its functions, dedented, in order of appearance.

  A file that this Python cannot parse gives an empty list.

  >>> docstrings_of_source(b'"One."\ndef f():\n  "Two."')
  ['One.', 'Two.']
  """
  try:
    tree = ast.parse(source)
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return []
  return [clean_docstring(text) for text in _docstrings(tree)]


def clean_docstring(text: str) -> str:
  r"""Removes a docstring's indentation and the blank lines around it, as `inspect.cleandoc` does in Python 3.11.

  Later versions of `inspect` count other characters as indentation; a corpus must not depend on the interpreter.

  >>> clean_docstring("One.\n\n    Two.\n      Three.\n    ")
  'One.\n\nTwo.\n  Three.'
  """
  first, *others = text.expandtabs().split("\n")
  indents = [len(line) - len(line.lstrip()) for line in others if line.strip()]
  margin = min(indents, default=0)
  lines = [first.lstrip(), *(line[margin:] for line in others)]
  while lines and not lines[-1]:
    lines.pop()
  while lines and not lines[0]:
    lines.pop(0)
  return "\n".join(lines)


def _docstrings(node: ast.AST) -> Iterator[str]:
  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
    text = ast.get_docstring(node, clean=False)
    if text:
      yield text
  for block in _BLOCKS:
    for child in getattr(node, block, ()):
      if not isinstance(child, ast.Expr):
        yield from _docstrings(child)


def docstrings_of_files(paths: Sequence[str], processes: int) -> list[list[str]]:
  """Returns the docstrings of each file, extracted by several processes at once."""
  shards: list[list[int]] = [[] for _ in range(max(1, processes))]
  loads = [0] * len(shards)
  for index in sorted(range(len(paths)), key=lambda i: -os.path.getsize(paths[i])):  # noqa: PTH202
    lightest = loads.index(min(loads))
    shards[lightest].append(index)
    loads[lightest] += os.path.getsize(paths[index])  # noqa: PTH202
  results_of: list[list[str]] = [[] for _ in paths]
  with ThreadPoolExecutor(len(shards)) as pool:
    results = pool.map(_work, [[paths[index] for index in shard] for shard in shards])
    for shard, docstrings in zip(shards, results, strict=True):
      for index, texts in zip(shard, docstrings, strict=True):
        results_of[index] = texts
  return results_of


def _work(paths: list[str]) -> list[list[str]]:
  if not paths:
    return []
  command = [sys.executable, "-I", "-W", "ignore", __file__]
  done = subprocess.run(command, input=json.dumps(paths).encode(), capture_output=True, check=False)
  if done.returncode:
    raise RuntimeError(f"extracting docstrings failed: {done.stderr.decode(errors='replace')[-2000:]}")
  return json.loads(done.stdout)


def _main() -> None:
  gc.disable()  # trees are many small objects without cycles: collecting them takes longer than parsing
  docstrings = []
  for path in json.load(sys.stdin):
    with open(path, "rb") as stream:  # noqa: PTH123
      docstrings.append(docstrings_of_source(stream.read()))
  json.dump(docstrings, sys.stdout)


if __name__ == "__main__":
  _main()
