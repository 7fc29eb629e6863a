"""Validation loss in nats per token and bits per byte: the same fixed rows for every run."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gen.batch import Batch
from gen.kernels import losses


class Evaluation(NamedTuple):
  """Loss on a validation set.

  Attributes:
    loss: nats per loss-bearing token.
    bits_per_byte: bits of all loss-bearing tokens over the bytes of text that they stand for.
    tokens: loss-bearing tokens.
  """

  loss: float
  bits_per_byte: float
  tokens: float


def evaluate_loss(
  program: Callable[[Any, Batch], losses.LossSums], params: Any, batches: Iterable[Batch], text_bytes: float
) -> Evaluation:
  """Returns the loss over batches; sums are added in float64, in the order of the batches.

  Args:
    program: compiled function (params, batch) -> sums.
    params: the model's parameters.
    batches: fixed rows; the last batch is padded with rows of weight 0.
    text_bytes: bytes of text that the loss-bearing tokens stand for.
  """
  # All batches are dispatched before the first result is waited for.
  return _divided([program(params, batch) for batch in batches], text_bytes)


def evaluate_recurrent(
  program: Callable[[Any, Batch, Any], tuple[losses.LossSums, Any]],
  params: Any,
  batches: Iterable[Batch],
  text_bytes: float,
  recurrent_state: Any,
) -> Evaluation:
  """Returns the loss as `evaluate_loss` does, for rows that continue from batch to batch with their recurrent state.

  Args:
    program: compiled function (params, batch, state) -> (sums, state).
    params: the model's parameters.
    batches: fixed rows; row b of a batch continues row b of the batch before it.
    text_bytes: bytes of text that the loss-bearing tokens stand for.
    recurrent_state: the state before the first batch.
  """
  # Sums stay on the device until all batches are dispatched; only the state couples one batch with the next.
  pending = []
  for batch in batches:
    sums, recurrent_state = program(params, batch, recurrent_state)
    pending.append(sums)
  return _divided(pending, text_bytes)


def _divided(pending: list[losses.LossSums], text_bytes: float) -> Evaluation:
  # Python floats: a sum over many batches in float32 would lose digits.
  nll = sum(float(sums.nll) for sums in pending)
  tokens = sum(float(sums.weight) for sums in pending)
  # Nats become bits by 1 / ln 2. At least 1: an empty set has loss 0.
  return Evaluation(nll / max(tokens, 1.0), nll / math.log(2) / max(text_bytes, 1.0), tokens)
