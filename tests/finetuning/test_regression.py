"""Numbers as labels: heads that predict them in the unit of the data, for texts and for pairs of texts."""

import dataclasses
import json

import numpy as np
import pytest

import gen
from gen.config.heads import HeadConfig
from gen.data.tasks.examples import TaskData, TextExample
from gen.data.tasks.reading import load_task
from gen.errors import UserError
from gen.finetuning import finetune, task_model
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms import encoded_rows, task_loss
from gen.finetuning.task_forms.number_form import NumberForm
from gen.finetuning.worth_of_labels import label_members
from gen.generation import loaded_model
from gen.models import heads

SETTINGS = FinetuneSettings(
  "classify",
  "a run",
  "made here",
  batch=8,
  epochs=10,
  learning_rate=1e-2,
  dropout=0.0,
  patience=0,
  max_shapes=1,
)
TEXTS = [" ".join(["elm"] * (n % 5) + ["sun"] * (n * 3 % 7 + 1)) for n in range(61)]


def price(text):
  """Numbers far from 0, whose unit a fresh head does not have."""
  return 3_000.0 + 250.0 * text.count("elm")


def priced(count=61):
  examples = tuple(TextExample(text, "", "", "", price(text)) for text in TEXTS[:count])
  return TaskData("classify", examples[:40], examples[40:50], examples[50:], (), "made here", "hash")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["encoder", "decoder"])
def test_a_head_learns_numbers_in_the_unit_of_the_data(run_of, tmp_path, family):
  data = priced()
  settings = dataclasses.replace(SETTINGS, start_from=str(run_of(family)))
  result = finetune.finetune_model(settings, tmp_path / "run", data=data)
  assert result.score.name == "spearman" and result.score.value > 0.8 and result.baseline.value == 0
  error, spread = result.score.values["mean_absolute_error"], np.std([e.label_value for e in data.test])
  assert error < spread
  assert result.prompted_note == "not defined for numbers" and result.labels == ()
  rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
  assert [row["label"] for row in rows] == [example.label_value for example in data.test]
  # The saved head has the unit folded in.
  again = gen.predict(tmp_path / "run", [row["input"] for row in rows])
  np.testing.assert_allclose(again, [row["prediction"] for row in rows], rtol=1e-4)


def test_the_loss_is_the_squared_error_of_standardized_numbers(run_of):
  loaded = loaded_model.load_model(run_of("encoder"))
  data = priced()
  model = task_model.open_task_model(loaded, SETTINGS, data)
  values = np.array([example.label_value for example in data.train])
  rows = model.form.rows(data.train[:8], "training")
  shape = encoded_rows.padded_shapes(rows, (48,), 1)[0]
  batch = encoded_rows.stack_rows(rows, 8, shape)
  np.testing.assert_allclose(batch.targets_bt[:, 0], (values[:8] - values.mean()) / values.std(), rtol=1e-5)
  head = heads.build_headed_model(model.model, model.head)
  logits_bk = task_loss.head_logits(loaded.model, model.head, model.params, batch)
  sums = task_loss.batch_loss(loaded.model, model.head, SETTINGS.optimizer_config, model.params, batch)
  assert head is not None and float(sums.weight) == 8
  squares = (np.asarray(logits_bk)[:, 0] - batch.targets_bt[:, 0]) ** 2
  np.testing.assert_allclose(float(sums.loss), squares.sum(), rtol=1e-5)


def test_a_head_without_bias_keeps_the_origin(run_of):
  loaded = loaded_model.load_model(run_of("encoder"))
  form = NumberForm(loaded, HeadConfig("classify", ("value",), bias=False, problem="regression"), SETTINGS)
  form.standardize(priced().train)
  values = np.array([example.label_value for example in priced().train])
  assert form.center == 0 and form.spread == pytest.approx(np.sqrt((values**2).mean()))
  assert form.fold({"kernel": np.array([[2.0]])})["kernel"][0, 0] == pytest.approx(2 * form.spread)


def test_pairs_with_a_score_in_a_table_are_regression(tmp_path):
  lines = ["text,text_pair,score", *(f"elm {n},oak {n},{n / 10}" for n in range(30))]
  (tmp_path / "pairs.csv").write_text("\n".join(lines))
  data = load_task("classify", str(tmp_path / "pairs.csv"))
  first = min((*data.train, *data.development, *data.test), key=lambda example: example.label_value)
  assert first == TextExample("elm 0", "", "oak 0", "", 0.0) and data.labels == ()
  assert "'text_pair' is taken for second_text" in data.notes and "'text' is taken for text" not in data.notes


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"form": "text"}, "form=text writes classes, and the labels are numbers; leave form out"),
    ({"class_weights": "balanced"}, "class_weights needs classes, and the labels are numbers; leave it out"),
  ],
)
def test_settings_of_classes_are_refused_with_numbers(changes, message):
  with pytest.raises(UserError, match=message):
    task_model.check_data(priced(), dataclasses.replace(SETTINGS, **changes))


def test_a_study_of_labels_leaves_out_methods_that_need_classes():
  assert label_members.choose_methods((), priced()) == ("full", "lora", "head")
  with pytest.raises(UserError, match="tfidf answers with classes, and the labels are numbers"):
    label_members.choose_methods(["full", "tfidf"], priced())
