"""Training a small model on made-up rows: what an experiment wants to show decides what the rows say.

Rows are bytes of text, a pure function of (seed, step); nothing is kept on disk, and a run takes a minute.
B rows, T positions.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from gen.batch import Batch
from gen.config import Model, Run
from gen.data.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.generation.checkpoint import Restored
from gen.interop.reading import Reading
from gen.training import step
from gen.training.optimizer import horizon

DISPATCH = 20  # steps of one compiled call
BYTES = ByteTokenizer()
READING = Reading("causal", before=(BYTES.bos,), after=(), start=(BYTES.pad,), stop=(BYTES.eos,))
Report = Callable[[int, float], None]


class Exercise(Protocol):
  """What is learnt."""

  @property
  def length(self) -> int:
    """Positions of a row, which become the model's window."""
    ...

  def batch(self, step: int, rows: int, seed: int = 0) -> Batch:
    """Returns the rows of a step."""
    ...


def train(run: Run, exercise: Exercise, report: Report | None = None) -> Restored:
  """Returns a decoder or a recurrent model that was trained on an exercise.

  Args:
    run: its model, optimizer, batch, steps and seed count.
    exercise: its rows.
    report: is told the steps done and the loss of the latest, nats per token that bears loss.

  Raises:
    UserError: for a model that does not predict next tokens, or one whose loss is no number.
  """
  if run.model.family in ("encoder", "encoder_decoder"):
    raise UserError(
      f"a model of family {run.model.family} is not trained here; take a decoder or a recurrent one"
    )
  model = complete(run.model, exercise.length)
  programs = step.programs(model, run.optimizer)
  state, over = programs.initialize(np.uint32(run.seed)), horizon(run.optimizer, run.steps)
  for done in range(0, run.steps, DISPATCH):
    count = min(DISPATCH, run.steps - done)
    batches = stacked(exercise.batch(done + i, run.data.batch, run.seed) for i in range(DISPATCH))
    state, sums = programs.train(state, batches, count, over)
    if int(state.skipped) > run.optimizer.most_skipped:
      raise UserError(f"the gradient of {int(state.skipped)} steps was not finite; lower the learning rate")
    if report:
      report(done + count, float(sums.nll) / max(1.0, float(sums.weight)))
  return Restored(model, state.params, BYTES, READING, f"{model.family} of width {model.width}")


def complete(model: Model, length: int) -> Model:
  """Returns the model with the vocabulary of bytes and a window of so many positions."""
  return Model(**(vars(model) | {"vocab": BYTES.text_vocab, "context": length}))


def batch_of(ids_bt: np.ndarray, bears_bt: np.ndarray) -> Batch:
  """Returns the batch in which each row's next id is predicted; 0 is padding.

  Args:
    ids_bt: rows with one id more than there are inputs.
    bears_bt: which of the ids after the first bear loss.
  """
  inputs_bt, targets_bt = ids_bt[:, :-1].astype(np.int32), ids_bt[:, 1:].astype(np.int32)
  segments_bt = (targets_bt != BYTES.pad).astype(np.int32)
  positions_bt = np.broadcast_to(np.arange(inputs_bt.shape[1], dtype=np.int32), inputs_bt.shape)
  return Batch(inputs_bt, targets_bt, (bears_bt * segments_bt).astype(np.float32), segments_bt, positions_bt)


def of_texts(texts: Sequence[tuple[str, str]], length: int) -> Batch:
  """Returns a batch of a prompt and an answer each row; the answer and its end bear loss."""
  ids_bt, bears_bt = np.zeros((2, len(texts), length + 1), np.int32)
  for b, (prompt, answer) in enumerate(texts):
    given, new = BYTES.encode(prompt), BYTES.encode(answer)
    ids = np.concatenate([[BYTES.bos], given, new, [BYTES.eos]])
    if len(ids) > length + 1:
      raise ValueError(f"a row of {len(ids)} ids is longer than {length + 1}")
    ids_bt[b, : len(ids)] = ids
    bears_bt[b, 1 + len(given) : len(ids)] = 1
  return batch_of(ids_bt, bears_bt[:, 1:])


def stacked(batches: Iterator[Batch]) -> Batch:
  """Returns batches of one shape as one of [K, B, T]."""
  whole: list[Any] = list(zip(*batches, strict=True))
  return Batch(*(None if arrays[0] is None else np.stack(arrays) for arrays in whole))
