"""Batches of several corpora in changing proportions: `at(step)` is a pure function of (seed, step), as of one corpus.

Each row is of one corpus. `MixturePlan` says of which, and each corpus has its own order of rows in each epoch.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from gen.batch import Batch
from gen.config import Data
from gen.data.batches import RowOrder, ShuffledOrder
from gen.data.mixture_plan import MixturePlan, MixtureText
from gen.data.objectives import Objective
from gen.data.token_stream import TokenStream
from gen.errors import UserError


class MixtureBatches:
  """The batches of a run on a mixture; the interface of `batches.Batches`.

  Attributes:
    plan: which corpus each row is of.
    names: of the corpora, in order.
    rows_k: rows of each corpus, which are one epoch.
  """

  def __init__(
    self, streams: Mapping[str, TokenStream], data: Data, seed: int, steps: int, objective: Objective
  ) -> None:
    """Plans the run; no tokens are read yet.

    Args:
      streams: training text of each corpus of data.mixture, by name.
      data: its length, batch and mixture are used.
      seed: of all orders and of the objective's random numbers.
      steps: of the run, of which the schedule's fractions are.
      objective: makes batches of windows.

    Raises:
      UserError: if a corpus has too little text for a row, or the mixture cannot fill the run.
    """
    self.names, self._batch, self._objective = list(streams), data.batch, objective
    # By name and not by place: a corpus keeps its order of rows when others are added to the mixture.
    salts = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) for name in streams]
    self._rows = [
      RowOrder(stream, objective, seed + salt) for stream, salt in zip(streams.values(), salts, strict=True)
    ]
    self.rows_k = np.array([rows.full for rows in self._rows])
    self._tokens = data.batch * steps * self._rows[0].stride
    sizes = [len(stream.ids) for stream in streams.values()]
    phases = self._phases(data, steps, sizes)
    self._check_rows(phases, data, sizes)
    self._orders = [
      # A batch of 1, since places count rows here. A corpus without a row has weight 0, and its order is never drawn.
      ShuffledOrder(max(rows.full, 1), 1, seed % 2**64, (salt,))
      for rows, salt in zip(self._rows, salts, strict=True)
    ]
    texts = [
      MixtureText(corpus.name, rows, int(corpus.max_epochs * rows) if corpus.max_epochs else None)
      for corpus, rows in zip(data.mixture, self.rows_k.tolist(), strict=True)
    ]
    self.plan = MixturePlan(texts, phases, steps * data.batch, seed)

  def _phases(self, data: Data, steps: int, sizes: Sequence[int]) -> list[tuple[int, Sequence[float]]]:
    """Returns (first row, weights), with the weights that hold from the beginning; weights change between steps."""
    weights: list[float] = [corpus.weight or 0.0 for corpus in data.mixture]
    if data.mixture_temperature:
      # |L|^alpha of mT5 (arXiv:2010.11934, section 3.2) with alpha = 1 / temperature; it chose 0.3.
      weights = [size ** (1 / data.mixture_temperature) for size in sizes]
    if data.mixture_unit == "tokens" and abs(sum(weights) - self._tokens) > self._tokens / 100:
      raise UserError(
        f"data.mixture sets {sum(weights):,.0f} tokens in all, but the run reads {self._tokens:,}; set"
        f" tokens={sum(weights):.10g}, or data.mixture_unit to share"
      )
    # Rounded to whole steps, since the rows of a batch share their weights.
    later = [(round(row[0] * steps) * data.batch, row[1:]) for row in data.mixture_schedule]
    return [(0, weights), *later]

  def _check_rows(
    self, phases: Sequence[tuple[int, Sequence[float]]], data: Data, sizes: Sequence[int]
  ) -> None:
    for index, name in enumerate(self.names):
      if not self.rows_k[index] and any(weights[index] for _, weights in phases):
        raise UserError(
          f"data.mixture: the training side of {name} has {sizes[index]:,} tokens, less than one row of length"
          f" {data.length}; give it more text, or weight 0"
        )

  def epochs(self, step: int) -> np.ndarray:
    """Returns how often each corpus was read before a step."""
    return self.plan.counts(step * self._batch) / np.maximum(self.rows_k, 1)

  def epoch(self, step: int) -> float:
    """Returns how often the corpus that is read most often was read before a step."""
    return float(self.epochs(step).max())

  def shares(self, step: int) -> np.ndarray:
    """Returns the share of each corpus in the rows before a step."""
    counts_k = self.plan.counts(step * self._batch)
    return counts_k / max(int(counts_k.sum()), 1)

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
    rows_n = step * self._batch + np.arange(count * self._batch)
    if rows_b is not None:
      rows_n = rows_n.reshape(count, self._batch)[:, rows_b].reshape(-1)
    corpora_n, numbers_n = self.plan.locate(rows_n)
    # One call a corpus and not one a row: an objective works on arrays.
    chosen = np.unique(corpora_n).tolist()
    made = []
    for index in chosen:
      picked_n, epochs_n = self._orders[index].pick(numbers_n[corpora_n == index])
      made.append(self._rows[index].make(picked_n, epochs_n))
    # Row by row as planned: the places of each corpus's rows, one corpus after the other, inverted.
    back_n = np.argsort(np.concatenate([np.flatnonzero(corpora_n == index) for index in chosen]))
    return Batch._make(
      None if arrays[0] is None else np.concatenate(arrays)[back_n] for arrays in zip(*made, strict=True)
    )
