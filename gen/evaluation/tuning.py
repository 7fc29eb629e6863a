"""Fine-tuning on a few prompts and answers at a given cost, to set beside showing them in the prompt.

A prompt with k examples costs their forward pass each time that it is read. What Q questions spend so buys

    Q x forward(examples) / (forward and backward of the k solved prompts)

steps of full-batch fine-tuning on the same k examples, after which a question needs no example.
B rows, T positions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen import counts
from gen.batch import Batch
from gen.config import Model, Optimizer
from gen.errors import UserError
from gen.evaluation import likelihood
from gen.generation.checkpoint import Restored
from gen.training import step
from gen.training.optimizer import horizon

BACKWARD = 3  # a step costs three forward passes
DISPATCH = 16  # steps of one compiled call


class Tuned(NamedTuple):
  """A fine-tuned model, and what it cost."""

  restored: Restored
  steps: int
  flops: float


def forward_flops(model: Model, tokens: int) -> float:
  """Returns the FLOPs of reading one text of so many tokens."""
  return counts.flops(model, tokens, 0).total / BACKWARD if tokens else 0.0


def reading_flops(model: Model, questions: int, tokens: int, bare: int) -> float:
  """Returns what examples cost over so many questions: of prompts of `tokens` beyond those of `bare` tokens."""
  return questions * (forward_flops(model, tokens) - forward_flops(model, bare))


def tune(
  restored: Restored, pairs: Sequence[tuple[str, str]], flops: float, rate: float, rows: int = 0
) -> Tuned:
  """Returns the model after as many full-batch steps of AdamW on prompts and answers as the FLOPs pay for.

  Args:
    restored: a decoder or a recurrent model; it is left as it is.
    pairs: prompts and answers; the answers alone bear loss.
    flops: to be spent; what is left of them is less than a step.
    rate: learning rate, constant.
    rows: of the compiled batch, filled up with padding that costs nothing in the count; 0 is one a pair.

  Raises:
    UserError: for no pairs, or a family that is not a decoder or recurrent.
  """
  model = restored.model
  if model.family in ("encoder", "encoder_decoder"):
    raise UserError(
      f"a model of family {model.family} is not fine-tuned here; take a decoder or a recurrent one"
    )
  if not pairs:
    raise UserError("there is nothing to fine-tune on; give at least one prompt with its answer")
  batch = _batch(restored, pairs, max(rows, len(pairs)))
  price = sum(
    counts.flops(model, int(tokens), 0).total for tokens in (batch.segments_bt > 0).sum(1) if tokens
  )
  steps = int(flops // price)
  optimizer = Optimizer(peak_learning_rate=rate, schedule="constant", warmup=0.0, weight_decay=0.0)
  programs = step.programs(model, optimizer)
  fresh = programs.initialize(np.uint32(0))
  state = fresh._replace(params=jax.tree.map(jnp.array, restored.params))
  many = Batch(*(None if array is None else np.stack([array] * DISPATCH) for array in batch))
  for done in range(0, steps, DISPATCH):
    state, _ = programs.train(state, many, min(DISPATCH, steps - done), horizon(optimizer, max(1, steps)))
  return Tuned(restored._replace(params=state.params), steps, steps * price)


def _batch(restored: Restored, pairs: Sequence[tuple[str, str]], rows: int) -> Batch:
  """Returns the pairs as rows in which the answers bear loss."""
  how, texts, firsts = restored.reading, [], []
  for prompt, answer in pairs:
    given, new = likelihood.split(restored, prompt, answer)
    texts.append([*how.before, *given, *new])
    firsts.append(len(how.before) + len(given) - 1)
  longest = -(-max(len(ids) for ids in texts) // likelihood.MULTIPLE) * likelihood.MULTIPLE
  inputs_bt, targets_bt, segments_bt = np.zeros((3, rows, longest), np.int32)
  weights_bt = np.zeros((rows, longest), np.float32)
  for b, (ids, first) in enumerate(zip(texts, firsts, strict=True)):
    inputs_bt[b, : len(ids) - 1], targets_bt[b, : len(ids) - 1] = ids[:-1], ids[1:]
    segments_bt[b, : len(ids) - 1] = 1
    weights_bt[b, first : len(ids) - 1] = 1
  positions_bt = np.broadcast_to(np.arange(longest, dtype=np.int32), inputs_bt.shape)
  return Batch(inputs_bt, targets_bt, weights_bt, segments_bt, positions_bt)
