"""One shard through one pass, in a worker process: a pure function of its rows, the pass and the decisions."""

import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen.data.curation.passes import shards, tallies
from gen.data.curation.passes.plan import GlobalStage, LocalStage, Pass
from gen.data.curation.passes.shards import Row
from gen.data.curation.rules import words
from gen.data.curation.rules.verdicts import Drop, Kept, Verdict
from gen.data.document import Document
from gen.errors import UserError
from gen.io import user_code

CountTokens = Callable[[str], int]


class Work(NamedTuple):
  """What a worker needs for any shard of any pass.

  Attributes:
    root: work folder, with one folder for each pass.
    passes: all of them.
    count_tokens: of a text.
  """

  root: Path
  passes: list[Pass]
  count_tokens: CountTokens

  def folder(self, number: int) -> Path:
    """Returns the folder of a pass."""
    return self.root / f"pass-{number:02d}"


_WORK: list[Work] = []  # of this worker process


def start_worker(work: Work) -> None:
  """Stores the work of a process; an interrupt is the main process's to handle."""
  parent = multiprocessing.parent_process()
  if parent is not None:
    # Ctrl-C reaches all processes of a terminal; workers that end on their own would break the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
  _WORK[:] = [work]


def _end_with(sentinel: int) -> None:
  """Ends this process when the main process was killed; it would wait for tasks for ever."""
  multiprocessing.connection.wait([sentinel])
  # Not `sys.exit`, which would end this thread alone.
  os._exit(1)


def run_task(task: tuple[int, int, list[Row] | None]) -> tuple[int, int]:
  """Runs one shard; returns its index and the bytes of text that entered."""
  number, index, rows = task
  return index, run_shard(_WORK[0], number, index, rows)


def call_on_shard(task: tuple[Callable[[Path, int, Any], Any], Path, int, Any]) -> Any:
  """Calls a function with a shard."""
  function, folder, index, argument = task
  return function(folder, index, argument)


def run_shard(work: Work, number: int, index: int, rows: list[Row] | None) -> int:
  """Takes a shard through a pass and writes what leaves it; returns the bytes of text that entered.

  Args:
    work: of the process.
    number: of the pass.
    index: of the shard.
    rows: documents of the first pass; None reads those that the previous pass wrote.
  """
  current = work.passes[number]
  before = work.folder(number - 1)
  decided = None
  if rows is None:
    rows = list(shards.read_rows(before, index))
    decided = _Decisions(before, index) if current.decided else None
  pending = _Shard(work, current)
  for at, row in enumerate(rows):
    if decided is None or current.decided is None:
      pending.add(row, None)
    else:
      pending.add(row, functools.partial(decided.verdict, current.decided, at))
  pending.write(work.folder(number), index)
  return pending.entered


class _Decisions:
  """The decisions of the previous pass about one of its shards."""

  def __init__(self, folder: Path, index: int) -> None:
    self._folder = folder
    starts = np.load(folder / "offsets.npy")
    self._starts = starts
    # An empty array cannot be mapped into memory.
    decision = np.load(folder / "decision.npy", mmap_mode="r") if starts[-1] else np.zeros(0, np.uint8)
    self._values = np.array(decision[starts[index] : starts[index + 1]])
    self._ends = np.concatenate([[0], shards.load_array(folder, index, "ends.npy")])

  def verdict(self, stage: GlobalStage, at: int, document: Document) -> Verdict:
    values = self._values[self._ends[at] : self._ends[at + 1]]
    return stage.apply(document, values, self._name_of)

  def _name_of(self, position: int) -> str:
    """Returns the name of the document of a feature, for stages with one feature per document."""
    shard = int(np.searchsorted(self._starts, position, "right")) - 1
    return _names(self._folder, shard)[position - int(self._starts[shard])]


@functools.lru_cache(maxsize=64)
def _names(folder: Path, shard: int) -> list[str]:
  return json.loads(shards.shard_path(folder, shard, "names.json").read_bytes())


class _Shard:
  """The rows, features, drops and tallies that accumulate while a shard is worked on."""

  def __init__(self, work: Work, current: Pass) -> None:
    self._work, self._pass = work, current
    self._tallies = {name: tallies.StageTally(name) for name in current.stage_names}
    self._rows: list[Row] = []
    self._features: list[np.ndarray] = []
    self._drops: list[str] = []
    self.entered = 0

  def add(self, row: Row, decision: Callable[[Document], Verdict] | None) -> None:
    """Takes one document through the stages."""
    document, key, scores = Document(row.name, row.text), words.text_hash(row.name), dict(row.scores)
    size = self._size(document.text, row.tokens)
    self.entered += size[1]
    stages: list[tuple[str, Callable[[Document], Verdict]]] = []
    if decision is not None and self._pass.decided is not None:
      stages.append((self._pass.decided.name, decision))
    stages += [(stage.name, functools.partial(_apply, stage)) for stage in self._pass.local]
    for name, apply in stages:
      verdict = _normal(apply(document), name)
      after = size
      if isinstance(verdict, Kept) and verdict.document.text is not document.text:
        after = self._size(verdict.document.text)
      self._tallies[name].add(document, size, row.source, key, verdict, after)
      if isinstance(verdict, Drop):
        self._drops.append(_drop_line(row, document, name, verdict, size))
        return
      if verdict.score is not None:
        # Six digits: a score is for thresholds and reports, and JSON stays short.
        scores[name] = round(float(verdict.score), 6)
      document, size = verdict.document, after
    kept = Row(row.n, row.source, document.name, document.text, scores, size[2])
    self._rows.append(kept)
    if self._pass.features_of is not None:
      self._features.append(self._pass.features_of.features(kept))

  def _size(self, text: str, tokens: int = -1) -> tallies.Size:
    # Of ASCII text the number of characters is that of bytes: no copy is made for most documents.
    length = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return 1, length, tokens if tokens >= 0 else self._work.count_tokens(text)

  def write(self, folder: Path, index: int) -> None:
    """Writes the files of the shard."""
    parts = {
      "rows.zst": shards.encode_rows(self._rows),
      "drops.zst": shards.compress_text("".join(self._drops)),
    }
    if self._pass.features_of is not None:
      lengths = [len(features) for features in self._features]
      # Also a shard without documents has an array of the right type.
      empty = self._pass.features_of.features(Row(0, "", "", ""))[:0]
      parts["features.npy"] = shards.encode_array(np.concatenate([empty, *self._features]))
      parts["ends.npy"] = shards.encode_array(np.cumsum(lengths, dtype=np.int64))
      parts["names.json"] = json.dumps([row.name for row in self._rows]).encode()
    stages = {name: tally.as_dict() for name, tally in self._tallies.items()}
    shards.write_shard(
      folder, index, parts, {"stages": stages, "entered": self.entered, "left": len(self._rows)}
    )


def _apply(stage: LocalStage, document: Document) -> Verdict:
  with user_code.errors_of(f"stage {stage.name}, document {document.name[:80]}"):
    return stage.apply(document, stage.parameters)


def _normal(verdict: Any, stage: str) -> Kept | Drop:
  """Returns the verdict with its score and counts."""
  if isinstance(verdict, Kept | Drop):
    return verdict
  if isinstance(verdict, Document):
    return Kept(verdict)
  raise UserError(
    f"stage {stage} returned a {type(verdict).__name__}; return a Document, or Drop(reason, detail)"
  )


def _drop_line(row: Row, document: Document, stage: str, verdict: Drop, size: tallies.Size) -> str:
  """Returns the line of drops.jsonl for a document."""
  fields: dict[str, Any] = {
    "n": row.n, "name": row.name, "source": row.source, "stage": stage, "reason": verdict.reason,
    "detail": verdict.detail, "bytes": size[1], "text": document.text[:120],
  }  # fmt: skip
  if verdict.score is not None:
    fields["score"] = round(float(verdict.score), 6)
  return json.dumps(fields, ensure_ascii=False) + "\n"


def join_drops(folder: Path, count: int) -> Iterable[bytes]:
  """Yields the lines about drops of a pass, shard by shard."""
  import zstandard

  for index in range(count):
    yield zstandard.ZstdDecompressor().decompress(
      shards.shard_path(folder, index, "drops.zst").read_bytes(), max_output_size=1 << 31
    )
