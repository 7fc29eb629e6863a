"""The result of a fine-tuning, and its file."""

import dataclasses
import json
from pathlib import Path

from gen.errors import UserError
from gen.evaluation.metrics.score import Score
from gen.finetuning.settings import FinetuneSettings
from gen.io import checksums, formats, json_reading, typed_json

NAME = "results.json"


@dataclasses.dataclass(frozen=True)
class FinetuneResult:
  """A finished fine-tuning.

  Attributes:
    settings: what was asked.
    family: of the model.
    form: head or text.
    labels: classes or tags.
    examples: number in each part of the data.
    licence: of the data.
    parameters: of the model.
    trained_parameters: those that were trained.
    learning_rate: peak.
    steps: done.
    planned_steps: those without early stopping.
    best_step: whose parameters are kept.
    development: the best score on the development part; where steps are chosen by loss, the loss with a minus.
    seconds: inside steps.
    padding: padded tokens of an epoch over its tokens.
    score: on the test part.
    baseline: score that needs no model, on the same examples.
    prompted: scores of the same model before fine-tuning, by the number of examples in its prompt.
    prompted_note: on how many examples, or why there are none.
    max_answer: most tokens of an answer; 0 where there are classes.
    threshold: of "no answer", see `gen.finetuning.task_forms.span_form`; None where every question has one.
    versions: of the software.
    state_bytes: of parameters and moments between steps; 0 in results of older versions.
  """

  settings: FinetuneSettings
  family: str
  form: str
  labels: tuple[str, ...]
  examples: dict[str, int]
  licence: str
  parameters: int
  trained_parameters: int
  learning_rate: float
  steps: int
  planned_steps: int
  best_step: int
  development: float
  seconds: float
  padding: float
  score: Score
  baseline: Score
  prompted: dict[str, Score]
  prompted_note: str
  max_answer: int
  threshold: float | None
  versions: dict[str, str]
  state_bytes: int = 0


def read_result(folder: Path) -> FinetuneResult:
  """Returns the result in the folder of a finished fine-tuning.

  Raises:
    UserError: if there is none, or it cannot be read.
  """
  path = folder / NAME
  if not path.is_file():
    raise UserError(f"{folder} holds no finished fine-tuning; give the --workdir of experiments/finetune.py")
  values = formats.without_format(json_reading.read_json(path), formats.RUN_FOLDER, str(path), formats.REMEDY)
  return typed_json.decode_record(FinetuneResult, values, str(path))


def write_result(folder: Path, result: FinetuneResult) -> None:
  """Writes the result of a fine-tuning into its folder."""
  values = formats.with_format(typed_json.encode_record(result), formats.RUN_FOLDER)
  checksums.write_atomically(folder / NAME, (json.dumps(values, indent=1) + "\n").encode())
