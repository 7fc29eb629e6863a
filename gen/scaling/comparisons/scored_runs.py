"""Bits per byte of finished runs on held-out texts, kept in a journal so that no run is scored twice."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gen.config import Data
from gen.data import batches, token_stream
from gen.data.batches import ValidationBatches
from gen.data.tokenizers.tokenizer import Tokenizer
from gen.generation import loaded_model
from gen.scaling.comparisons.held_out_text import HeldOutText
from gen.training import compiled_step, evaluate
from gen.training.run_log import journal
from gen.training.run_log.rows import RowValues

JOURNAL = "held_out.jsonl"
QUIET_SECONDS = 30.0  # between two lines of progress
BATCH = 16  # rows that are evaluated at a time
Report = Callable[[str], None]


class RunScorer:
  """Scores runs of a study's folder on the same held-out texts."""

  def __init__(self, folder: Path, texts: Sequence[HeldOutText], report: Report) -> None:
    """Reads the scores that are known.

    Args:
      folder: of the study; its journal of scores lies there.
      texts: to score each run on.
      report: called with one line from time to time.

    Raises:
      UserError: for a damaged journal.
    """
    self._path, self._texts, self._report = folder / JOURNAL, texts, report
    self._rows: dict[tuple[str, str], ValidationBatches] = {}
    self._known: dict[tuple[object, ...], float] = {}
    for row in journal.read_journal(self._path, sealed=True):
      values: Mapping[str, object] = row
      self._known[values["run"], values["corpus_sha256"], values["text"]] = float(
        str(values["bits_per_byte"])
      )

  def score_runs(self, results: Mapping[Path, RowValues]) -> dict[Path, dict[str, float]]:
    """Returns bits per byte by text for each run.

    Args:
      results: the result row of each finished run, by its folder.

    Raises:
      UserError: for a run that cannot be read.
    """
    left = [
      folder
      for folder, row in results.items()
      if any(self._key(row, text) not in self._known for text in self._texts)
    ]
    said = time.monotonic()
    if left:
      self._report(f"scoring {len(left)} runs on held-out text")
    with journal.Journal(self._path) as written:
      for number, folder in enumerate(left):
        if time.monotonic() - said > QUIET_SECONDS:
          self._report(f"{number} of {len(left)} runs scored")
          said = time.monotonic()
        row = results[folder]
        for text, bits in zip(self._texts, self._score(folder), strict=True):
          self._known[self._key(row, text)] = bits
          written.append(
            {
              "kind": "held_out", "run": row["run"], "corpus_sha256": row["corpus_sha256"], "text": text.sha256,
              "name": text.name, "bits_per_byte": bits,
            }
          )  # fmt: skip
    return {
      folder: {text.name: self._known[self._key(row, text)] for text in self._texts}
      for folder, row in results.items()
    }

  def _key(self, row: RowValues, text: HeldOutText) -> tuple[object, ...]:
    return row["run"], row["corpus_sha256"], text.sha256

  def _score(self, folder: Path) -> list[float]:
    loaded = loaded_model.load_model(folder, report=lambda _: None)
    run = loaded_model.read_run(folder)
    program = compiled_step.step_programs(loaded.model, run.optimizer).evaluate
    bits = []
    for text in self._texts:
      rows = self._batches(text, loaded.tokenizer, run.data)
      scored = evaluate.evaluate_loss(program, loaded.params, rows.batches, text.bytes)
      # Over the bytes of the text, not of its tokens, so that all tokenizers divide by the same number.
      bits.append(scored.loss * scored.tokens / math.log(2) / text.bytes)
    return bits

  def _batches(self, text: HeldOutText, tokenizer: Tokenizer, data: Data) -> ValidationBatches:
    key = text.sha256, tokenizer.hash
    if key not in self._rows:
      stream = token_stream.encode_texts(text.documents, tokenizer)
      whole = dataclasses.replace(data, batch=BATCH, validation_tokens=len(stream.ids) + data.length)
      self._rows[key] = batches.validation_batches(stream, whole)
    return self._rows[key]
