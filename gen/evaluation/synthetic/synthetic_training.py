"""Training a small model on synthetic rows.

Rows are bytes of text, a pure function of (seed, step); nothing is stored on disk, and a run takes a minute.
B rows, T positions.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from gen import counts
from gen.batch import Batch
from gen.config import RECURRENT, Model, Run
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.generation.loaded_model import LoadedModel
from gen.interop.text_frames import TextFrame
from gen.optimizers import schedule_params
from gen.training import compiled_step

# Steps of one compiled call; chosen: hides the host's time between steps.
DISPATCH = 20
BYTES = ByteTokenizer()
CAUSAL_FAMILIES = ("decoder", *RECURRENT)  # families that continue a text
OBJECTIVES = {"encoder": "masked", "encoder_decoder": "span_corruption"}  # of the others
Report = Callable[[int, float], None]


class SyntheticTask(Protocol):
  """A synthetic task."""

  @property
  def families(self) -> tuple[str, ...]:
    """Families that read its rows."""
    ...

  @property
  def length(self) -> int:
    """Positions of a row, which become the model's window."""
    ...

  def batch(self, step: int, rows: int, seed: int = 0) -> Batch:
    """Returns the rows of a step."""
    ...


def train_model(run: Run, exercise: SyntheticTask, report: Report | None = None) -> LoadedModel:
  """Returns a model after training on an exercise.

  Args:
    run: only its model, optimizer, batch, steps and seed are used.
    exercise: source of the rows.
    report: called with the completed steps and the latest loss, nats per token with loss.

  Raises:
    UserError: for a model of a family that does not read the exercise's rows, or one whose loss is not finite.
  """
  if run.model.family not in exercise.families:
    raise UserError(
      f"a model of family {run.model.family} cannot be trained on this task; take one of {', '.join(exercise.families)}"
    )
  model = complete_model(run.model, exercise.length)
  programs = compiled_step.step_programs(model, run.optimizer)
  state, over = programs.initialize(np.uint32(run.seed)), schedule_params(run.optimizer, run.steps)
  for done in range(0, run.steps, DISPATCH):
    count = min(DISPATCH, run.steps - done)
    batches = stack_batches(exercise.batch(done + i, run.data.batch, run.seed) for i in range(DISPATCH))
    state, sums = programs.train(state, batches, count, over)
    if int(state.skipped) > run.optimizer.max_skipped_steps:
      raise UserError(f"the gradient of {int(state.skipped)} steps was not finite; lower the learning rate")
    if report:
      report(done + count, float(sums.nll) / max(1.0, float(sums.weight)))
  where = f"{model.family} of width {model.width}"
  return LoadedModel(model, state.params, BYTES, reading_for(model.family), where)


def training_flops(run: Run, exercise: SyntheticTask) -> float:
  """Returns the FLOPs of a run on an exercise, padding included."""
  row = exercise.batch(0, 1)
  source = 0 if row.source_bs is None else row.source_bs.shape[1]
  model = complete_model(run.model, exercise.length)
  return counts.count_flops(model, row.inputs_bt.shape[1], source).total * run.data.batch * run.steps


def complete_model(model: Model, length: int) -> Model:
  """Returns the model with a window of `positions` positions and a byte vocabulary, with masks if it fills gaps."""
  # A model that continues text needs no ids of masks and sentinels, and has fewer logits without them.
  vocab = BYTES.text_vocab if model.family in CAUSAL_FAMILIES else BYTES.vocab
  return dataclasses.replace(model, vocab=vocab, context=length)


def reading_for(family: str) -> TextFrame:
  """Returns a family's text format for an exercise."""
  objective = OBJECTIVES.get(family, "causal")
  return TextFrame(objective, before=(BYTES.bos,), after=(), start=(BYTES.pad,), stop=(BYTES.eos,))


def make_batch(ids_bt: np.ndarray, bears_bt: np.ndarray) -> Batch:
  """Returns the batch for next-token prediction; 0 is padding.

  Args:
    ids_bt: rows with one id more than inputs.
    bears_bt: which of the ids after the first have loss.
  """
  inputs_bt, targets_bt = ids_bt[:, :-1].astype(np.int32), ids_bt[:, 1:].astype(np.int32)
  segments_bt = (targets_bt != BYTES.pad).astype(np.int32)
  positions_bt = np.broadcast_to(np.arange(inputs_bt.shape[1], dtype=np.int32), inputs_bt.shape)
  return Batch(inputs_bt, targets_bt, (bears_bt * segments_bt).astype(np.float32), segments_bt, positions_bt)


def batch_of_texts(texts: Sequence[tuple[str, str]], length: int) -> Batch:
  """Returns a batch of one prompt and answer per row, with loss on the answer and its end."""
  ids_bt, bears_bt = np.zeros((2, len(texts), length + 1), np.int32)
  for b, (prompt, answer) in enumerate(texts):
    prompt_ids, new = BYTES.encode(prompt), BYTES.encode(answer)
    ids = np.concatenate([[BYTES.bos], prompt_ids, new, [BYTES.eos]])
    if len(ids) > length + 1:
      raise ValueError(f"a row of {len(ids)} ids is longer than {length + 1}")
    ids_bt[b, : len(ids)] = ids
    bears_bt[b, 1 + len(prompt_ids) : len(ids)] = 1
  return make_batch(ids_bt, bears_bt[:, 1:])


def stack_batches(batches: Iterator[Batch]) -> Batch:
  """Returns batches of one shape as one of [K, B, T]."""
  columns: list[Any] = list(zip(*batches, strict=True))
  return Batch._make(None if arrays[0] is None else np.stack(arrays) for arrays in columns)
