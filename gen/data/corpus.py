"""A corpus: documents without duplicates, parted into training and validation, kept in the cache.

Two documents are duplicates if they differ in nothing but white space; the first in order stays. (Blocks that a
single text is cut into are no documents: they may repeat.) A document belongs to validation if the hash of its name,
taken as a number in [0, 1), is below the fraction; that depends on no other document and on no order.
"""

import hashlib
import json
import mmap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from gen.config import Data
from gen.data import cache
from gen.data.document import Document
from gen.data.sources import source as source_module
from gen.errors import UserError

FORMAT = 1  # of the cached files and of the rules above; raise it when either changes
_META = ("documents", "bytes", "validation_bytes", "sha256")
_PIECE = 1 << 20  # characters that are normalized at a time
Report = Callable[[str], None]


class Texts(Sequence[str]):
  """Texts that lie one after the other in a memory-mapped file; compares and behaves like a list of str."""

  def __init__(self, content: Any, starts: np.ndarray, ends: np.ndarray) -> None:
    """Takes the bytes of all texts and where each begins and ends."""
    self._content, self._starts, self._ends = content, starts, ends

  def __len__(self) -> int:
    return len(self._starts)

  @overload
  def __getitem__(self, index: int) -> str: ...
  @overload
  def __getitem__(self, index: slice) -> list[str]: ...
  def __getitem__(self, index: int | slice) -> str | list[str]:
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(len(self)))]
    return self._content[int(self._starts[index]) : int(self._ends[index])].decode("utf-8")

  def __eq__(self, other: object) -> bool:
    if not isinstance(other, Sequence) or len(self) != len(other):
      return False
    return all(mine == its for mine, its in zip(self, other, strict=True))

  __hash__ = None  # type: ignore[assignment]


class Corpus(NamedTuple):
  """Text to learn from and text to be judged by.

  Attributes:
    name: of its source.
    train: one str a document.
    validation: the same; shares no file and no document with train.
    documents: how many in both.
    bytes: of UTF-8 in both.
    validation_bytes: of UTF-8 in validation.
    sha256: of both with their parting.
    seconds: that building or finding it took.
    notes: lines that say how files were read.
  """

  name: str
  train: Sequence[str]
  validation: Sequence[str]
  documents: int
  bytes: int
  validation_bytes: int
  sha256: str
  seconds: float
  notes: tuple[str, ...] = ()


def build_corpus(data: Data, report: Report | None = None) -> Corpus:
  """Returns the corpus that `data` names, from the cache where it has been built before.

  Args:
    data: corpus, field, split, validation_fraction and cache count.
    report: is told documents, bytes, SHA-256 and seconds in one line.

  Raises:
    UserError: if the source is missing, damaged, empty or too small to be parted.
  """
  begin = time.perf_counter()
  if not 0 < data.validation_fraction < 1:
    raise UserError(f"data.validation_fraction is {data.validation_fraction}; it must lie between 0 and 1")
  source = source_module.find_source(data)
  name = "corpus-" + cache.cache_key(FORMAT, source.fingerprint, data.validation_fraction)
  made = cache.find_or_build(
    cache.cache_folder(data), name, lambda folder: _build(folder, source, data.validation_fraction)
  )
  corpus = _open(made.path, source.name, made.meta, time.perf_counter() - begin)
  if report:
    report(describe_corpus(corpus) + (", found in the cache" if made.found else ""))
    for note in corpus.notes:
      report(note)
  return corpus


def describe_corpus(corpus: Corpus) -> str:
  """Returns one line that says how large the corpus is and which."""
  share = corpus.validation_bytes / corpus.bytes
  return (
    f"corpus {corpus.name}: {corpus.documents:,} documents ({len(corpus.validation):,} for validation),"
    f" {corpus.bytes:,} bytes ({share:.1%}), sha256 {corpus.sha256}, {corpus.seconds:.1f} s"
  )


def _open(path: Path, name: str, meta: dict[str, Any], seconds: float) -> Corpus:
  ends = np.load(path / "ends.npy")
  starts = np.concatenate([[0], ends[:-1]])
  validates = np.load(path / "validates.npy")
  with (path / "texts.bin").open("rb") as stream:
    content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
  train, validation = (Texts(content, starts[side], ends[side]) for side in (~validates, validates))
  notes = tuple(meta.get("notes", ()))
  return Corpus(name, train, validation, seconds=seconds, notes=notes, **{key: meta[key] for key in _META})


def _build(folder: Path, source: source_module.Source, fraction: float) -> dict[str, Any]:
  ends, places = _write(folder / "texts.bin", source)
  validates = _part(places, fraction, source.name)
  _save(folder / "ends.npy", ends)
  _save(folder / "validates.npy", validates)
  lengths = np.diff(ends, prepend=0)
  return {
    "documents": len(ends),
    "bytes": int(ends[-1]),
    "validation_bytes": int(lengths[validates].sum()),
    "sha256": _identity(folder / "texts.bin", lengths, validates),
    "notes": source.notes(),
  }


def _write(path: Path, source: source_module.Source) -> tuple[np.ndarray, np.ndarray]:
  """Writes unique texts one after the other; returns where each ends and the place of its name in [0, 1)."""
  ends, places = [], []
  total = met = 0
  with path.open("wb") as stream:
    for document in _unique(source.documents(), source.blocks):
      content = document.text.encode("utf-8")
      stream.write(content)
      total += len(content)
      ends.append(total)
      places.append(split_position(document.name))
      met += 1
  if not met:
    raise UserError(f"data.corpus {source.name}: the corpus is empty; no document holds any text")
  return np.array(ends, np.int64), np.array(places)


def _unique(documents: Iterator[Document], may_repeat: bool) -> Iterator[Document]:
  seen: set[bytes] = set()
  for document in documents:
    digest = _digest(document.text)
    if digest is not None and (may_repeat or digest not in seen):
      seen.add(digest)
      yield document


def _digest(text: str) -> bytes | None:
  """Returns the hash of a text's words with one space between them; None where there are no words.

  It goes by pieces: a list of all words of a long text takes ten times its memory.
  """
  hashed = hashlib.blake2b(digest_size=16)
  words, joins = False, False  # whether any came, and whether the last one may go on in the next piece
  for start in range(0, len(text), _PIECE):
    piece = text[start : start + _PIECE]
    normalized = " ".join(piece.split())
    if normalized:
      if words and not (joins and not piece[0].isspace()):
        hashed.update(b" ")
      hashed.update(normalized.encode("utf-8"))
      words = True
      joins = not piece[-1].isspace()
    else:
      joins = False
  return hashed.digest() if words else None


def split_position(name: str) -> float:
  """Returns where in [0, 1) the hash of a document's name lies; it validates if that is below the fraction."""
  return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:6]) / 2**48


def _part(places: np.ndarray, fraction: float, name: str) -> np.ndarray:
  """Returns which documents validate: those below the fraction, and at least one on each side."""
  if len(places) < 2:
    raise UserError(
      f"data.corpus {name}: one document cannot be parted into training and validation; add text"
    )
  validates = places < fraction
  if not validates.any():
    validates[np.argmin(places)] = True
  if validates.all():
    validates[np.argmax(places)] = False
  return validates


def _identity(path: Path, lengths: np.ndarray, validates: np.ndarray) -> str:
  sha256 = hashlib.sha256(json.dumps([lengths.tolist(), validates.tolist()]).encode())
  with path.open("rb") as stream:
    while chunk := stream.read(1 << 20):
      sha256.update(chunk)
  return sha256.hexdigest()


def _save(path: Path, array: np.ndarray) -> None:
  """Writes .npy through Python's own file, whose errors name their reason (a full disk)."""
  with path.open("wb") as stream:
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
    stream.write(array.tobytes())
