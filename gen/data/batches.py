"""Batches from a token stream: packed rows in an order that is a pure function of (seed, step).

B rows of a batch, N rows to make, W raw tokens of a row, before the objective. Rows are windows of the stream at equal
strides, without padding; segment ids separate the documents of a row. Each epoch visits every row once, in an order
that only depends on the seed and the epoch, so any step can be made at the same cost.
"""

import functools
import operator
from typing import Any, NamedTuple

import numpy as np

from gen.batch import Batch
from gen.config import Data
from gen.data import objectives
from gen.data.objectives import Objective, token_tables
from gen.data.token_stream import TokenStream
from gen.data.tokenizers.tokenizer import Tokenizer
from gen.errors import UserError


def make_objective(data: Data, tokenizer: Tokenizer, family: str = "") -> Objective:
  """Returns the objective that `data` names, with the tokenizer's ids and the tables that it needs.

  Args:
    data: only objective and length are used.
    tokenizer: source of ids and pieces.
    family: the model's family, on which the form of some objectives depends.

  Raises:
    UserError: for an unknown objective, or one that the length or the tokenizer does not allow.
  """
  parameters: dict[str, Any] = {}
  if family and "family" in objectives.parameter_names(data.objective):
    parameters["family"] = family
  tables = objectives.required_tables(data.objective)
  if tables:
    names = [
      "" if tokenizer.is_special(number) else tokenizer.name(number) for number in range(tokenizer.vocab)
    ]
    makers = {"word_start_v": token_tables.word_starts, "sentence_end_v": token_tables.sentence_ends}
    parameters |= {name: makers[name](names) for name in tables}
  return objectives.make_objective(
    data.objective, objectives.Specials.of(tokenizer), data.length, **parameters
  )


class RowOrder:
  """The windows of a stream, by number, made into batches by an objective."""

  def __init__(self, stream: TokenStream, objective: Objective, seed: int) -> None:
    """Computes the number of rows; no tokens are read yet.

    Args:
      stream: source of the windows.
      objective: turns windows into batches.
      seed: of the objective's random numbers.
    """
    self._stream, self._objective, self._seed = stream, objective, seed
    self.window = objective.lengths.raw
    # With next-token prediction, the last token of a row is only a target here; the next row reads it as an input.
    overlap = int(objective.lengths.source == 0 and self.window == objective.lengths.target + 1)
    self.stride = self.window - overlap
    tokens = len(stream.ids)
    self.full = max(0, (tokens - overlap) // self.stride)
    self.all = max(0, -(-(tokens - overlap) // self.stride))  # the last row may be shorter
    self.padding_row = self.all + 1  # number of a row of padding

  def make(self, rows_n: np.ndarray, epochs_n: np.ndarray, continues_n: np.ndarray | None = None) -> Batch:
    """Returns a batch of rows by number; an objective may draw new random numbers in each epoch.

    Args:
      rows_n: numbers of the rows.
      epochs_n: epoch of each row.
      continues_n: as of `cut`.
    """
    tokens_nw, segments_nw = self.cut(rows_n, continues_n)
    return self._objective(tokens_nw, self._objective.keys(self._seed, epochs_n, rows_n), segments_nw)

  def cut(self, rows_n: np.ndarray, continues_n: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns raw tokens and their documents, numbered from 1 in each row; 0 is padding beyond the stream's end.

    `continues_n` marks rows that continue the row before them. In these, 1 is the document in which that row ended,
    and new documents are numbered from 2.
    """
    ids, tokenizer = self._stream.ids, self._stream.tokenizer
    # A row is a window at its number times the stride, so any row is made without the ones before it.
    places_nw = rows_n[:, None] * self.stride + np.arange(self.window)
    inside_nw = places_nw < len(ids)
    # Indices beyond the end are clipped for the read alone; their tokens are replaced below.
    tokens_nw = ids[np.minimum(places_nw, len(ids) - 1)].astype(np.int32)
    begins_nw = tokens_nw == tokenizer.bos  # the first token of each document, and nowhere else
    begins_nw[:, 0] |= True if continues_n is None else ~continues_n
    # With a continued row, 1 is the document before its first token, which may go on.
    segments_nw = np.cumsum(begins_nw, axis=1, dtype=np.int32) + (continues_n is not None)
    if not inside_nw.all():
      tokens_nw, segments_nw = (
        np.where(inside_nw, tokens_nw, tokenizer.pad),
        np.where(inside_nw, segments_nw, 0),
      )
    return tokens_nw, segments_nw


class ShuffledOrder:
  """A uniformly random order of all rows in each epoch.

  The latest epoch's order is cached: 8 bytes a row.
  """

  def __init__(self, rows: int, batch: int, seed: int, salt: tuple[int, ...] = ()) -> None:
    """Stores the number of rows of the stream, the rows of a batch, the seed of the orders, and a salt of it."""
    self._rows, self._batch, self._seed, self._salt = rows, batch, seed, salt
    # Steps follow each other, so one epoch's order is enough; a dispatch that spans two draws the second once.
    self._order = functools.lru_cache(maxsize=1)(self._drawn)

  def rows(self, step: int, count: int) -> tuple[np.ndarray, np.ndarray, None]:
    """Returns the rows of `count` steps from `step` on: their numbers and epochs; None, as no row continues another."""
    return *self.pick(step * self._batch + np.arange(count * self._batch)), None

  def pick(self, numbers_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of ascending places in the order, epoch after epoch: their numbers and epochs."""
    epochs_n, places_n = np.divmod(numbers_n, self._rows)
    rows_n = np.empty_like(places_n)
    for epoch in np.unique(epochs_n).tolist():
      here_n = epochs_n == epoch
      rows_n[here_n] = self._order(epoch)[places_n[here_n]]
    return rows_n, epochs_n

  def _drawn(self, epoch: int) -> np.ndarray:
    # Seeded by both numbers: an epoch's order needs none of the orders before it, so a run resumes anywhere.
    return np.random.default_rng((self._seed, epoch, *self._salt)).permutation(self._rows)


class ContiguousOrder:
  """An order in which row b of each batch continues row b of the batch before it.

  Each epoch cuts the stream into B contiguous parts of `steps` rows, from a random start. Fewer than B rows are left
  over, different ones in each epoch.
  """

  def __init__(self, rows: int, batch: int, seed: int) -> None:
    """Stores the number of rows of the stream, the rows of a batch, and the seed of the start positions."""
    self._rows, self._batch, self._seed = rows, batch, seed
    self.steps = rows // batch  # of an epoch

  def rows(self, step: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows of `count` steps from `step` on: numbers, epochs, whether they continue another."""
    steps_s = step + np.arange(count)
    epochs_s, places_s = steps_s // self.steps, steps_s % self.steps
    starts = {epoch: self._start(epoch) for epoch in set(epochs_s.tolist())}
    first_s = np.array([starts[epoch] for epoch in epochs_s.tolist()], int)
    rows_sb = (first_s + places_s)[:, None] + np.arange(self._batch) * self.steps
    # The stream's first row begins a document, so a part that wraps around its end needs no mark.
    return (
      rows_sb.reshape(-1) % self._rows,
      np.repeat(epochs_s, self._batch),
      np.repeat(places_s > 0, self._batch),
    )

  def _start(self, epoch: int) -> int:
    # Another start in each epoch, so that other rows are left over and other tokens share a row.
    return int(np.random.default_rng((self._seed, epoch)).integers(self._rows))


class Batches:
  """The batches of a run: `at(step)` is a pure function of (seed, step), for any step at the same cost.

  Attributes:
    rows_per_epoch: rows that the stream is cut into.
  """

  def __init__(self, stream: TokenStream, data: Data, seed: int, objective: Objective | None = None) -> None:
    """Chooses the objective and the order of rows; no tokens are read yet.

    Args:
      stream: source of the rows.
      data: only its length, batch and objective are used.
      seed: of the order and of the objective's random numbers.
      objective: replaces the one that `data` names.

    Raises:
      UserError: if the stream is too short for one batch of different rows.
    """
    self._rows = RowOrder(stream, objective or make_objective(data, stream.tokenizer), seed)
    self._batch = data.batch
    self.rows_per_epoch = self._rows.full
    if self.rows_per_epoch < data.batch:
      raise UserError(
        f"the training side of the corpus has {len(stream.ids):,} tokens, which make {self.rows_per_epoch} rows of"
        f" length {data.length}: fewer than one batch of {data.batch}; use more text, or a smaller data.length or"
        " data.batch"
      )
    # Whole rows alone (`full`): all have the same number of tokens, and D of the laws is exact.
    order = ContiguousOrder if data.stream else ShuffledOrder
    self._order = order(self._rows.full, data.batch, seed % 2**64)

  def epoch(self, step: int) -> float:
    """Returns the epochs completed before a step, as a fraction."""
    return step * self._batch / self.rows_per_epoch

  def at(self, step: int) -> Batch:
    """Returns the batch of a step: numpy arrays of shape [B, T]."""
    return self._make(step, 1)

  def stack(self, step: int, count: int, rows_b: np.ndarray | None = None) -> Batch:
    """Returns the batches of `count` steps from `step` on: numpy arrays of shape [count, B, T].

    Args:
      step: the first.
      count: how many.
      rows_b: the rows of each batch to make, for a process that holds only some; None makes all.
    """
    batch = self._make(step, count, rows_b)
    shape = (count, self._batch if rows_b is None else len(rows_b))
    return batch.map_arrays(lambda array: array.reshape(*shape, *array.shape[1:]))

  def _make(self, step: int, count: int, rows_b: np.ndarray | None = None) -> Batch:
    rows_n, epochs_n, continues_n = self._order.rows(step, count)
    if rows_b is not None:
      # Numbers of the rows are drawn for the complete batch in each process, so all agree; only their tokens are read
      # here.
      local = (np.arange(count)[:, None] * self._batch + rows_b).reshape(-1)
      rows_n, epochs_n = rows_n[local], epochs_n[local]
      continues_n = None if continues_n is None else continues_n[local]
    return self._rows.make(rows_n, epochs_n, continues_n)


class ValidationBatches(NamedTuple):
  """A fixed set of batches for validation.

  Attributes:
    batches: numpy arrays of shape [B, T]; the last is padded to B rows.
    tokens: targets that bear loss.
    bytes: UTF-8 bytes of those targets; bits per byte = summed nats / (ln 2 x bytes).
  """

  batches: list[Batch]
  tokens: int
  bytes: int


def validation_batches(
  stream: TokenStream, data: Data, objective: Objective | None = None
) -> ValidationBatches:
  """Returns the first rows of the stream that read data.validation_tokens, or all of it if it has fewer.

  The objective's random numbers depend on the row alone, so runs of all seeds use the same validation set.

  Raises:
    UserError: if the stream has nothing to predict.
  """
  # Seed 0 whatever the run's seed is, see the docstring.
  rows = RowOrder(stream, objective or make_objective(data, stream.tokenizer), seed=0)
  count = min(rows.all, -(-data.validation_tokens // rows.stride))
  if count < 1:
    raise UserError(
      f"the validation side of the corpus has {len(stream.ids)} tokens and data.validation_tokens is"
      f" {data.validation_tokens}, too few for one row; raise data.validation_fraction, or use more text"
    )
  steps = -(-count // data.batch)
  # Rows of padding have weight 0: the last batch has the shape of the others, and one program serves all.
  rows_n = np.full(steps * data.batch, rows.padding_row)
  rows_n[:count] = np.arange(count)
  continues_n = None
  if data.stream:
    # Row b of each batch continues row b of the batch before it, as in training.
    rows_n = rows_n.reshape(data.batch, steps).T.reshape(-1)
    continues_n = np.arange(len(rows_n)) >= data.batch
  complete = rows.make(rows_n, np.zeros_like(rows_n), continues_n)
  bears_bt = complete.weights_bt > 0
  batches = [
    complete.map_arrays(operator.itemgetter(slice(start, start + data.batch)))
    for start in range(0, len(rows_n), data.batch)
  ]
  # Bytes of the targets that bear loss, and not of all text, so that bits per byte compare between objectives.
  text_bytes = stream.tokenizer.byte_lengths[complete.targets_bt[bears_bt]].sum(dtype=np.int64)
  return ValidationBatches(batches, int(bears_bt.sum()), int(text_bytes))
