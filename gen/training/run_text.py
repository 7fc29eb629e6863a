"""The text of a run as its loop reads it: training batches, validation rows of each corpus, and notes on them."""

import dataclasses
import math
from collections.abc import Callable, Mapping

from gen.config import Run
from gen.data import batches, training_batches
from gen.data.batches import ValidationBatches
from gen.data.dataset import Dataset
from gen.data.mixture_batches import MixtureBatches
from gen.training.evaluate import Evaluation
from gen.training.run_folders.run_length import MANY_EPOCHS, count_epochs, count_steps, row_length
from gen.training.run_log import rows

_ADVICE = f"text read more than about {MANY_EPOCHS} times adds little: lower steps, or give more text"


class RunText:
  """The text of a completed run.

  Attributes:
    batches: of training.
    validation: rows of all corpora.
    epochs: how often the run reads its text; of a mixture, the corpus that it reads most often.
    unique_tokens: tokens of the training text, of all corpora.
  """

  def __init__(self, run: Run, loaded: Dataset) -> None:
    """Plans the batches and makes the validation rows.

    Raises:
      UserError: if the text is too short for the rows, or a mixture cannot fill the run.
    """
    self._run, self._steps = run, count_steps(run)
    objective = batches.make_objective(run.data, loaded.tokenizer, run.model.role)
    self.batches = training_batches.make_batches(loaded, run.data, run.seed, self._steps, objective)
    streams = training_batches.training_streams(loaded, run.data)
    self._sizes = {name: len(stream.ids) for name, stream in streams.items()}
    self.epochs, self.unique_tokens = count_epochs(run, loaded), sum(self._sizes.values())
    # Each corpus has rows of its own, so that its loss is known; the pooled loss follows from their sums.
    self._parts = {
      name: batches.validation_batches(part.validation, run.data, objective)
      for name, part in loaded.tokens.items()
    }
    self.validation = _pooled(list(self._parts.values()))

  def evaluate(
    self, evaluate: Callable[[ValidationBatches], Evaluation]
  ) -> tuple[Evaluation, dict[str, rows.CorpusLoss] | None]:
    """Returns the loss on all validation rows, and of a mixture also the loss of each corpus.

    The first is over the rows of all corpora, whatever their weights, so that runs of different weights compare.

    Args:
      evaluate: returns the loss on some rows.
    """
    if not self._run.data.mixture:
      return evaluate(self.validation), None
    found = {name: evaluate(part) for name, part in self._parts.items()}
    # Pooled from the parts, so each row is evaluated once; a mean of the corpora's losses would weigh a small one as
    # much.
    nll = sum(each.loss * each.tokens for each in found.values())
    tokens = sum(each.tokens for each in found.values())
    pooled = Evaluation(nll / max(tokens, 1.0), nll / math.log(2) / max(self.validation.bytes, 1), tokens)
    return pooled, {
      name: rows.CorpusLoss(loss=each.loss, bits_per_byte=each.bits_per_byte) for name, each in found.items()
    }

  def readings(self, step: int) -> dict[str, rows.CorpusReading] | None:
    """Returns what a run reads of each corpus of its mixture before a step; None without a mixture."""
    if not isinstance(self.batches, MixtureBatches):
      return None
    tokens = step * self._run.data.batch * row_length(self._run).tokens
    # From the plan and not from counters: the same numbers after a restart, at any step.
    shares_k, epochs_k = self.batches.shares(step), self.batches.epochs(step)
    return {
      name: rows.CorpusReading(
        share=float(share),
        tokens=round(float(share) * tokens),
        epochs=float(epochs),
        unique_tokens=self._sizes[name],
      )
      for name, share, epochs in zip(self.batches.names, shares_k, epochs_k, strict=True)
    }

  def results(
    self, step: int, losses: Mapping[str, rows.CorpusLoss] | None
  ) -> dict[str, rows.CorpusResult] | None:
    """Returns what a run read of each corpus of its mixture before a step, with its loss; None without a mixture."""
    readings = self.readings(step)
    if readings is None or losses is None:
      return None
    return {
      name: rows.CorpusResult(**dataclasses.asdict(each), **dataclasses.asdict(losses[name]))
      for name, each in readings.items()
    }

  def described(self) -> rows.TextReading:
    """Returns the fields of a start row about the text."""
    corpora = self.readings(self._steps)
    return {
      "epochs": self.epochs,
      "unique_tokens": self.unique_tokens,
      "corpora": corpora,
      "notes": self.notes(),
    }

  def notes(self) -> list[str]:
    """Returns sentences on what the run reads of its text, and how often."""
    readings = self.readings(self._steps)
    lines = [f"reads {self.epochs:.2g} epochs of {self.unique_tokens:,} training tokens"]
    if readings is not None and isinstance(self.batches, MixtureBatches):
      lines = [
        f"reads {name} in {each.share:.1%} of its rows, {each.epochs:.2g} epochs of {each.unique_tokens:,} training"
        " tokens"
        for name, each in readings.items()
      ]
      lines += [
        f"{limit.name} reaches its most epochs in step {(limit.row - 1) // self._run.data.batch + 1:,}; from there on"
        f" its weight goes to {', '.join(limit.others)}"
        for limit in self.batches.plan.limits
      ]
    return [*lines[:-1], f"{lines[-1]}; {_ADVICE}"] if self.epochs > MANY_EPOCHS else lines


def _pooled(parts: list[ValidationBatches]) -> ValidationBatches:
  if len(parts) == 1:
    return parts[0]
  return ValidationBatches(
    [batch for part in parts for batch in part.batches],
    sum(part.tokens for part in parts),
    sum(part.bytes for part in parts),
  )
