"""A fine-tuning from its folder to its result: it learns, is not repeated, and resumes with the same bits."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from gen.errors import UserError
from gen.finetuning import finetune
from gen.finetuning.settings import FinetuneSettings
from gen.generation import loaded_model
from gen.io import typed_json
from gen.training.hooks import NoHooks, RunStopped
from gen.training.run_folders import headed_checkpoint


def settings_for(run_of, task, family, **changes):
  values = {
    "batch": 8, "epochs": 6, "learning_rate": 1e-2, "dropout": 0.0, "patience": 0, "few_shot": 0, "max_shapes": 1,
    "prompted_examples": 0,
  }  # fmt: skip
  return FinetuneSettings(task=task, start_from=str(run_of(family)), data="made here", **(values | changes))


@pytest.fixture(scope="module")
def classified(run_of, data_of, tmp_path_factory):
  """An encoder that was fine-tuned to classify: its settings, folder and result."""
  folder = tmp_path_factory.mktemp("classified") / "run"
  settings = settings_for(run_of, "classify", "encoder", dropout=0.1, epochs=12)
  return settings, folder, finetune.finetune_model(settings, folder, data=data_of("classify"))


def test_an_encoder_learns_to_classify_better_than_the_majority(classified):
  _, _, result = classified
  assert result.form == "head" and result.score.value > result.baseline.value
  assert result.score.low <= result.score.value <= result.score.high


def test_a_finished_fine_tuning_is_not_repeated(classified, data_of):
  settings, folder, result = classified
  again = finetune.finetune_model(settings, folder, data=data_of("classify"))
  assert typed_json.encode_record(again) == json.loads(json.dumps(typed_json.encode_record(result)))


def test_a_folder_holds_one_fine_tuning(classified, data_of):
  settings, folder, _ = classified
  with pytest.raises(UserError, match=r"another fine-tuning \(seed: 0 -> 4\)"):
    finetune.finetune_model(dataclasses.replace(settings, seed=4), folder, data=data_of("classify"))


def test_predictions_hold_input_prediction_score_and_label(classified, data_of):
  _, folder, result = classified
  rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
  assert [(row["input"], row["label"]) for row in rows] == [
    (e.text, e.label) for e in data_of("classify").test
  ]
  right = np.mean([row["prediction"] == row["label"] for row in rows])
  assert right == pytest.approx(result.score.values["accuracy"])
  assert all(0.5 <= row["score"] <= 1 for row in rows)


class StopAfter(NoHooks):
  """Stops at the n-th time that it is asked."""

  def __init__(self, asked):
    """Takes n."""
    self.left = asked

  def stop(self):
    """Counts down."""
    self.left -= 1
    return self.left == 0


@pytest.mark.parametrize("steps", [4, 11])
def test_a_stopped_fine_tuning_resumes_with_the_same_bits(classified, data_of, tmp_path, steps):
  settings, folder, result = classified
  with pytest.raises(RunStopped):
    finetune.finetune_model(settings, tmp_path / "run", data=data_of("classify"), hooks=StopAfter(steps))
  again = finetune.finetune_model(settings, tmp_path / "run", data=data_of("classify"))
  assert again.score == result.score and again.best_step == result.best_step
  read = [headed_checkpoint.read_headed(each).params for each in (folder, tmp_path / "run")]
  assert jax.tree.all(jax.tree.map(np.array_equal, *read))
  journals = [(each / "journal.jsonl").read_text() for each in (folder, tmp_path / "run")]
  assert journals[0] == journals[1]


def test_an_evaluation_reads_a_sample_of_the_development_part(run_of, data_of, tmp_path, monkeypatch):
  data, taken = data_of("translate"), []

  def note(self, journal, hooks):
    taken.extend(self.development)
    raise RunStopped("enough")

  monkeypatch.setattr(finetune._Finetuning, "run", note)
  settings = settings_for(run_of, "translate", "encoder_decoder", development_examples=4, max_answer=3)
  with pytest.raises(RunStopped):
    finetune.finetune_model(settings, tmp_path / "run", data=data)
  places = [data.development.index(each) for each in taken]
  # Neither the first nor the last examples, which a sorted file would make one kind.
  assert len(places) == 4 and places == sorted(places)
  assert places not in ([0, 1, 2, 3], list(range(len(data.development)))[-4:])


def test_training_stops_when_the_score_no_longer_rises_and_keeps_the_best_step(run_of, data_of, tmp_path):
  # At so small a rate no prediction changes, so the first evaluation stays the best.
  settings = settings_for(run_of, "classify", "encoder", learning_rate=1e-12, patience=2, dropout=0.1)
  result = finetune.finetune_model(settings, tmp_path / "run", data=data_of("classify"))
  assert (result.best_step, result.steps, result.planned_steps) == (6, 18, 36)


def test_the_folder_opens_as_a_model_that_says_why_it_cannot_write(classified):
  _, folder, result = classified
  loaded = loaded_model.load_model(folder)
  assert not loaded.reading.head
  headed = headed_checkpoint.read_headed(folder)
  assert headed.head.labels == result.labels
  assert all(
    np.array_equal(headed.params[name]["embedding"], loaded.params[name]["embedding"])
    for name in ("embedding",)
  )
