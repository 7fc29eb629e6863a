"""Fine-tuning on a few prompts and answers at a fixed cost, for comparison with examples in the prompt.

k examples in a prompt cost a forward pass for each question. For Q questions, the same FLOPs pay for

    Q x forward(examples) / (forward and backward of the k solved prompts)

steps of full-batch fine-tuning on the same k examples, after which a question needs no example.
B rows, T positions.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen import counts
from gen.batch import Batch
from gen.config import Model, Optimizer
from gen.config.heads import HeadConfig
from gen.errors import UserError
from gen.evaluation import likelihood
from gen.finetuning import trained_part, tuning_step
from gen.generation.loaded_model import LoadedModel
from gen.optimizers import schedule_params

# 2 FLOPs a weight forward; the backward pass has two products of that size.
BACKWARD = 3  # a step costs three forward passes


class TunedModel(NamedTuple):
  """A fine-tuned model and its cost."""

  restored: LoadedModel
  steps: int
  flops: float


def forward_flops(restored: LoadedModel, prompt: str, answer: str) -> float:
  """Returns the FLOPs of computing the likelihood of an answer after a prompt of any length."""
  # The count is of a prompt of any length: a prompt beyond the window is priced, and never run.
  boundless = restored._replace(model=dataclasses.replace(restored.model, context=0))
  rows = likelihood.rows_for(boundless, prompt, answer)
  return sum(_step_flops(restored.model, row) for row in rows) / BACKWARD


def reading_flops(restored: LoadedModel, questions: int, prompt: str, bare: str, answer: str) -> float:
  """Returns the FLOPs of a prompt's examples over `questions` questions, compared with the prompt without them."""
  return questions * (forward_flops(restored, prompt, answer) - forward_flops(restored, bare, answer))


def fine_tune(
  restored: LoadedModel, pairs: Sequence[tuple[str, str]], flops: float, rate: float, rows: int = 0
) -> TunedModel:
  """Returns the model after full-batch steps of AdamW on prompts and answers, as many as the FLOPs allow.

  Args:
    restored: a model of any family; it is not changed.
    pairs: prompts and answers; only answers have loss. Prompts of a model that fills blanks have one.
    flops: the budget; less than one step's FLOPs remain unused.
    rate: learning rate, constant.
    rows: of the compiled batch, padded; padding is not counted; 0 uses the number of pairs.

  Raises:
    UserError: for no pairs, or an invalid one.
  """
  model = restored.model
  if not pairs:
    raise UserError("there are no examples to fine-tune on; give at least one prompt with its answer")
  read = [row for prompt, answer in pairs for row in likelihood.rows_for(restored, prompt, answer)]
  batch = _batch(read, max(rows, len(read)))
  price = sum(_step_flops(model, row) for row in read)
  # Rounded down: fine-tuning never has more than the FLOPs of the prompts.
  steps = int(flops // price)
  # Nothing that a few steps could not use: no warmup, no decay.
  optimizer = Optimizer(peak_learning_rate=rate, schedule="constant", warmup=0.0, weight_decay=0.0)
  programs = tuning_step.tuning_programs(model, HeadConfig("none"), optimizer, None)
  state = programs.initialize({trained_part.PARAMETERS: restored.params}, 0)
  schedule = schedule_params(optimizer, max(1, steps))
  for _ in range(steps):
    state, _ = programs.train(state, {}, batch, schedule)
  return TunedModel(restored._replace(params=state.params[trained_part.PARAMETERS]), steps, steps * price)


def _step_flops(model: Model, row: likelihood.ScoredRow) -> float:
  """Returns the FLOPs of a training step on one row."""
  return counts.count_flops(model, len(row.inputs), 0 if row.source is None else len(row.source)).total


def _positions(ids_bt: np.ndarray) -> np.ndarray:
  return np.broadcast_to(np.arange(ids_bt.shape[1], dtype=np.int32), ids_bt.shape)


def _batch(read: Sequence[likelihood.ScoredRow], rows: int) -> Batch:
  """Returns the batch of the likelihood rows, padded to `rows` rows, with loss on counted predictions."""
  arrays = likelihood.rows_to_arrays(
    read, rows, likelihood.round_length(max(len(row.inputs) for row in read))
  )
  inputs_bt, targets_bt, weights_bt, segments_bt, prefix_bt, source_bs, source_segments_bs = arrays
  for array in (weights_bt, segments_bt, source_segments_bs):
    if array is not None:
      array[len(read) :] = 0
  positions_bt = _positions(inputs_bt)
  positions_bs = None if source_bs is None else _positions(source_bs)
  return Batch(
    inputs_bt, targets_bt, weights_bt, segments_bt, positions_bt, source_bs, source_segments_bs, positions_bs,
    prefix_bt=prefix_bt,
  )  # fmt: skip
