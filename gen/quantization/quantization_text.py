"""The text that calibration and comparison read: the run's corpus, or a file, in the format of the run's objective."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen.batch import Batch
from gen.config import Run
from gen.data import batches, dataset
from gen.data.token_stream import TokenStream
from gen.data.tokenizers.tokenizer import Tokenizer
from gen.errors import UserError
from gen.training.checkpointing.checkpoint_records import require_tokenizer

MIN_UNITS = 32  # batches of a comparison that a bootstrap draws from, where the text has as many rows


class TextSource(NamedTuple):
  """The two sides of the text.

  Attributes:
    calibration: tokens that scales are chosen on.
    held_out: tokens that losses are compared on.
  """

  calibration: TokenStream
  held_out: TokenStream


def open_text(
  run: Run,
  tokenizer: Tokenizer,
  text: str = "",
  calibration: str = "",
  *,
  has_corpus: bool = True,
  report: Callable[[str], None] | None = None,
) -> TextSource:
  """Returns the run's own corpus, or files in the place of its sides.

  Args:
    run: whose corpus, length and objective count.
    tokenizer: of the model.
    text: file of held-out text; empty is the validation side of the run's corpus.
    calibration: file of calibration text; empty is the training side, or with `text` the first half of that file.
    has_corpus: whether the run names text of its own; an imported one does not.
    report: called with progress.

  Raises:
    UserError: for files that cannot be read or hold no text, and for an imported run without files.
  """
  # First, so that a mistake in a file costs no reading of a corpus.
  calibrated = _stream(calibration, tokenizer) if calibration else None
  if text:
    held_out = _stream(text, tokenizer)
    if calibrated is not None:
      return TextSource(calibrated, held_out)
    # Calibration and comparison must not share text: scales fitted to it would flatter the quantized model.
    half = len(held_out.ids) // 2
    return TextSource(_part(held_out, 0, half), _part(held_out, half, len(held_out.ids)))
  if not has_corpus:
    raise UserError("the run was imported and names no text of its own; give --text=FILE")
  data = dataset.load_dataset(run.data, report)
  require_tokenizer({"tokenizer": tokenizer.hash}, data.tokenizer.hash, run.data.corpus)
  return TextSource(data.train if calibrated is None else calibrated, data.validation)


def _stream(path: str, tokenizer: Tokenizer) -> TokenStream:
  try:
    content = Path(path).read_text("utf-8")
  except UnicodeDecodeError as error:
    raise UserError(f"{path} is not UTF-8 (byte {error.start}); give a text file in that encoding") from None
  except (OSError, ValueError) as error:
    raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
  if not content.strip():
    raise UserError(f"{path} is empty; give a file with text")
  (ids,) = tokenizer.encode_batch([content], 1)
  # A file is one document, with the marks that the trainer puts around documents.
  before, after = ([] if special is None else [special] for special in (tokenizer.bos, tokenizer.eos))
  return TokenStream(np.concatenate([before, ids, after]).astype(np.int64), np.array([0]), tokenizer)


def _part(stream: TokenStream, begin: int, end: int) -> TokenStream:
  return TokenStream(stream.ids[begin:end], np.array([0]), stream.tokenizer)


def calibration_batches(run: Run, stream: TokenStream, rows: int) -> Iterator[Batch]:
  """Yields batches of at most so many rows, drawn evenly from the whole text.

  Args:
    run: whose batch, length and objective count.
    stream: calibration text.
    rows: at most.

  Raises:
    UserError: if the text has no token to predict.
  """
  objective = batches.make_objective(run.data, stream.tokenizer, run.model.role)
  made = batches.RowOrder(stream, objective, seed=0)
  if made.all < 1:
    raise UserError("the calibration text has no token to predict; give more text")
  # Evenly over the text: its beginning alone may be of one kind, such as headers.
  chosen_n = np.unique(np.linspace(0, made.all - 1, min(rows, made.all)).astype(int))
  size = min(run.data.batch, len(chosen_n))
  # Complete batches only, so that one program is compiled.
  for begin in range(0, len(chosen_n) - size + 1, size):
    rows_n = chosen_n[begin : begin + size]
    yield made.make(rows_n, np.zeros_like(rows_n))


def comparison_batches(run: Run, stream: TokenStream) -> batches.ValidationBatches:
  """Returns the validation rows of a text, in batches small enough for a bootstrap over them."""
  objective = batches.make_objective(run.data, stream.tokenizer, run.model.role)
  tokens = min(run.data.validation_tokens, len(stream.ids))
  rows = max(1, tokens // max(1, run.data.length))
  # The bootstrap draws batches: with fewer than 32 of them its intervals would be too narrow and rough.
  size = max(1, min(run.data.batch, rows // MIN_UNITS))
  # stream=False: `batch_loss` starts each row from an empty recurrent state, so their order does not matter.
  data = dataclasses.replace(run.data, batch=size, stream=False)
  return batches.validation_batches(stream, data, objective)
