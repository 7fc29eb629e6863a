"""A corpus: deduplicated documents, split into training and validation, stored in the cache.

Documents that differ only in white space are duplicates; the first one stays. (Blocks cut from a single text are not
deduplicated.) A document belongs to validation if the hash of its name, as a number in [0, 1), is below the fraction.
The split therefore does not depend on other documents or on their order.
"""

import collections
import dataclasses
import hashlib
import json
import mmap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from gen.config import Data
from gen.data import cache
from gen.data.document import Document
from gen.data.sources.source import Source, find_source
from gen.errors import UserError

FORMAT = 1  # of the cached files and of the rules above; raise it when either changes
_META = ("documents", "bytes", "validation_bytes", "sha256")
_PIECE = 1 << 20  # characters that are normalized at a time
Report = Callable[[str], None]


class Texts(Sequence[str]):
  """Texts stored one after the other in a memory-mapped file; behaves like a list of str."""

  def __init__(self, content: Any, starts: np.ndarray, ends: np.ndarray) -> None:
    """Stores the bytes of all texts, and the byte offsets where each text begins and ends."""
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
    return all(text == other_text for text, other_text in zip(self, other, strict=True))

  __hash__ = None  # type: ignore[assignment]


class JoinedTexts(Sequence[str]):
  """The texts of several corpora, one corpus after the other.

  Attributes:
    parts: the texts of each corpus.
  """

  def __init__(self, parts: Sequence[Sequence[str]]) -> None:
    """Stores the texts of each corpus."""
    self.parts = tuple(parts)
    self._ends = np.cumsum([len(part) for part in parts])

  def __len__(self) -> int:
    return int(self._ends[-1])

  @overload
  def __getitem__(self, index: int) -> str: ...
  @overload
  def __getitem__(self, index: slice) -> list[str]: ...
  def __getitem__(self, index: int | slice) -> str | list[str]:
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(len(self)))]
    place = range(len(self))[index]
    part = int(np.searchsorted(self._ends, place, side="right"))
    return self.parts[part][place - int(self._ends[part])]


class Corpus(NamedTuple):
  """Text for training and text for validation.

  Attributes:
    name: of its source.
    train: one str per document.
    validation: the same; shares no file and no document with train.
    documents: number of documents of both sides.
    bytes: UTF-8 bytes of both sides.
    validation_bytes: UTF-8 bytes of the validation side.
    sha256: of the text and the split, and of the manifest of a curated folder.
    seconds: time to build or find it.
    notes: one line for each way in which files were read.
    parts: the corpora of a mixture, by name; else None.
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
  parts: "Mapping[str, Corpus] | None" = None


def build_corpus(data: Data, report: Report | None = None) -> Corpus:
  """Returns the corpus that `data` names, from the cache if it was built before; a mixture is several in one.

  Args:
    data: only corpus, mixture, field, split, validation_fraction and cache are used.
    report: called with one line of documents, bytes, SHA-256 and seconds, for each corpus.

  Raises:
    UserError: if the source is missing, damaged, empty or too small to be split.
  """
  if data.mixture:
    return _build_mixture(data, report)
  begin = time.perf_counter()
  if not 0 < data.validation_fraction < 1:
    raise UserError(f"data.validation_fraction is {data.validation_fraction}; it must be between 0 and 1")
  source = find_source(data, report)
  name = "corpus-" + cache.cache_key(FORMAT, source.fingerprint, data.validation_fraction)
  made = cache.find_or_build(
    cache.cache_folder(data), name, lambda folder: _build(folder, source, data.validation_fraction)
  )
  corpus = _open(made.path, source.name, made.meta, time.perf_counter() - begin)
  if report:
    report(describe_corpus(corpus) + (", found in the cache" if made.existed else ""))
    for note in corpus.notes:
      report(note)
  return corpus


def _build_mixture(data: Data, report: Report | None) -> Corpus:
  """Returns the joined corpora of a mixture; the hash covers their names and texts, not their weights."""
  parts: dict[str, Corpus] = {}
  for named in data.mixture:
    try:
      parts[named.name] = build_corpus(dataclasses.replace(data, corpus=named.source, mixture=()), report)
    except UserError as error:
      raise UserError(f"data.mixture, {named.name}: {str(error).removeprefix('data.corpus ')}") from error
  corpora = list(parts.values())
  identity = [[name, part.sha256] for name, part in parts.items()]
  return Corpus(
    name=" + ".join(parts),
    train=JoinedTexts([part.train for part in corpora]),
    validation=JoinedTexts([part.validation for part in corpora]),
    documents=sum(part.documents for part in corpora),
    bytes=sum(part.bytes for part in corpora),
    validation_bytes=sum(part.validation_bytes for part in corpora),
    sha256=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
    seconds=sum(part.seconds for part in corpora),
    parts=parts,
  )


def describe_corpus(corpus: Corpus) -> str:
  """Returns one line with the corpus's name, size and hash."""
  share = corpus.validation_bytes / corpus.bytes
  return (
    f"corpus {corpus.name}: {corpus.documents:,} documents ({len(corpus.validation):,} for validation),"
    f" {corpus.bytes:,} bytes ({share:.1%} for validation), sha256 {corpus.sha256}, {corpus.seconds:.1f} s"
  )


def _open(path: Path, name: str, meta: dict[str, Any], seconds: float) -> Corpus:
  ends = np.load(path / "ends.npy")
  starts = np.concatenate([[0], ends[:-1]])
  validates = np.load(path / "validates.npy")
  with (path / "texts.bin").open("rb") as stream:
    # Mapped: several workers share one copy in the system's page cache, and a text larger than memory can be read.
    content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
  train, validation = (Texts(content, starts[side], ends[side]) for side in (~validates, validates))
  notes = tuple(meta.get("notes", ()))
  return Corpus(name, train, validation, seconds=seconds, notes=notes, **{key: meta[key] for key in _META})


def _build(folder: Path, source: Source, fraction: float) -> dict[str, object]:
  ends, positions = _write(folder / "texts.bin", source)
  validates = _choose_validation(positions, fraction, source.name)
  _save(folder / "ends.npy", ends)
  _save(folder / "validates.npy", validates)
  lengths = np.diff(ends, prepend=0)
  return {
    "documents": len(ends),
    "bytes": int(ends[-1]),
    "validation_bytes": int(lengths[validates].sum()),
    "sha256": _identity(folder / "texts.bin", lengths, validates, source.origin),
    "notes": source.notes(),
  }


def _write(path: Path, source: Source) -> tuple[np.ndarray, np.ndarray]:
  """Writes unique texts one after the other; returns their end offsets and the hash of each name in [0, 1)."""
  ends, positions = [], []
  total = count = 0
  left_out = collections.Counter[str]()
  with path.open("wb") as stream:
    for document in _unique(source.documents(), source.blocks, left_out):
      content = document.text.encode("utf-8")
      stream.write(content)
      total += len(content)
      ends.append(total)
      positions.append(split_position(document.name))
      count += 1
  if not count:
    blank = left_out["blank"]
    reason = f"none of its {blank:,} documents has any text" if blank else "its source holds no document"
    raise UserError(f"data.corpus {source.name}: the corpus is empty, because {reason}; name other files")
  # One document left of several is a mistake of the source, which a sentence about splitting would hide.
  if count == 1 and left_out:
    raise UserError(
      f"data.corpus {source.name}: one document is left, which cannot be split into training and validation:"
      f" {left_out['repeated']:,} repeated and {left_out['blank']:,} empty documents are left out; add others"
    )
  return np.array(ends, np.int64), np.array(positions)


def _unique(
  documents: Iterator[Document], may_repeat: bool, left_out: collections.Counter[str]
) -> Iterator[Document]:
  """Yields documents with text, each once; counts those without text and the repeated ones in `left_out`."""
  seen: set[bytes] = set()
  for document in documents:
    # 16 bytes a document instead of its text: the set of all fits into memory.
    digest = digest_text(document.text)
    if digest is None:
      left_out["blank"] += 1
    elif digest in seen and not may_repeat:
      left_out["repeated"] += 1
    else:
      seen.add(digest)
      yield document


def digest_text(text: str) -> bytes | None:
  """Returns the hash of a text's words with one space between them; None if there are no words.

  It hashes in pieces, because a list of all words of a long text takes ten times its memory.
  """
  hashed = hashlib.blake2b(digest_size=16)
  words = False  # whether there were any words so far
  joins = False  # whether the last word may continue in the next piece
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
  """Returns the hash of a document's name in [0, 1); below the fraction, the document is for validation."""
  # 48 bits, which a float64 in [0, 1) holds exactly.
  return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:6]) / 2**48


def _choose_validation(positions: np.ndarray, fraction: float, name: str) -> np.ndarray:
  """Returns which documents are for validation: those below the fraction, with at least one on each side."""
  if len(positions) < 2:
    raise UserError(
      f"data.corpus {name}: one document cannot be split into training and validation; add another document"
    )
  validates = positions < fraction
  # The document nearest to the limit, so that the choice depends on names alone here too.
  if not validates.any():
    validates[np.argmin(positions)] = True
  if validates.all():
    validates[np.argmax(positions)] = False
  return validates


def _identity(path: Path, lengths: np.ndarray, validates: np.ndarray, origin: str) -> str:
  # Lengths and sides are part of it: the same bytes cut into other documents are another corpus.
  parts = [lengths.tolist(), validates.tolist(), *([origin] if origin else [])]
  sha256 = hashlib.sha256(json.dumps(parts).encode())
  with path.open("rb") as stream:
    # 1 MiB: large enough for the disk's full rate, small beside the corpus.
    while chunk := stream.read(1 << 20):
      sha256.update(chunk)
  return sha256.hexdigest()


def _save(path: Path, array: np.ndarray) -> None:
  """Writes .npy through a Python file, whose errors give their reason (such as a full disk)."""
  with path.open("wb") as stream:
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
    stream.write(array.tobytes())
