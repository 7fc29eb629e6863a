"""Families that fill gaps learn the labels that are hidden from them, in the form in which they are asked."""

import jax
import numpy as np
import pytest

from gen import counts
from gen.config import Data, Model, Optimizer, Run
from gen.evaluation import likelihood
from gen.evaluation.synthetic import synthetic_training
from gen.evaluation.synthetic.label_mapping_masked import HiddenLabels, rows_for
from gen.evaluation.synthetic.label_mapping_task import LAYOUT, LabelMappingTask
from gen.evaluation.synthetic.synthetic_training import BYTES
from gen.finetuning.in_context_learning import fixed_cost, in_context
from gen.generation.loaded_model import LoadedModel
from gen.models import language_model

TASK = LabelMappingTask(letters=3, pairs=5)
GAPS = ("encoder", "encoder_decoder")


def untrained(family):
  model = synthetic_training.complete_model(
    Model(family=family, width=16, depth=1, head_width=8), 4 * TASK.pairs
  )
  params = language_model.initialize_parameters(model, jax.random.key(0))
  return LoadedModel(model, params, BYTES, synthetic_training.reading_for(family), "untrained")


def test_an_encoder_is_asked_for_the_last_label_and_some_others():
  batch = HiddenLabels(TASK, "encoder", plain=0).batch(2, rows=60, seed=1)
  assert batch.inputs_bt.shape == (60, 4 * 5)
  hidden_bt = batch.inputs_bt == BYTES.mask
  assert (batch.weights_bt == hidden_bt).all() and (batch.inputs_bt == batch.targets_bt)[~hidden_bt].all()
  whole_bt = TASK.sequences(2, 60, 1)
  for row, hides, targets, whole in zip(
    batch.segments_bt, hidden_bt, batch.targets_bt, whole_bt, strict=True
  ):
    size = int(row.sum())
    assert (targets[:size] == whole[:size]).all() and not targets[size:].any()
    assert hides[size - 1] and size % 4 == 0
    assert set(BYTES.decode(targets[hides])) <= set(TASK.labels)
  assert {int(row.sum()) for row in batch.segments_bt} == {4, 8, 12, 16, 20}
  assert len({int(hides.sum()) for hides in hidden_bt}) > 2


def test_an_encoder_decoder_writes_each_hidden_label_after_its_mark():
  encoder, both = (HiddenLabels(TASK, family, plain=0).batch(2, rows=30, seed=1) for family in GAPS)
  assert both.source_bs.shape == (30, 20) and both.inputs_bt.shape == (30, 10)
  marks = BYTES.sentinel(0) + np.arange(5)
  for b in range(30):
    hides = encoder.inputs_bt[b] == BYTES.mask
    count = int(hides.sum())
    assert (both.source_bs[b][hides] == marks[:count]).all()
    assert (both.source_bs[b][~hides] == encoder.inputs_bt[b][~hides]).all()
    told = both.targets_bt[b][: 2 * count].reshape(count, 2)
    assert (told[:, 0] == marks[:count]).all() and (told[:, 1] == encoder.targets_bt[b][hides]).all()
    assert both.weights_bt[b].tolist() == [0, 1] * count + [0] * (10 - 2 * count)
    assert (
      both.inputs_bt[b, 0] == BYTES.pad
      and (both.inputs_bt[b, 1:] == both.targets_bt[b, :-1])[: 2 * count - 1].all()
    )


def test_the_training_begins_with_one_mapping_and_leaves_it():
  def plain(step):
    rows = HiddenLabels(TASK, "encoder", plain=80).batch(step, rows=300).targets_bt
    return (
      sum(
        all(row[i] - row[i - 1] == ord("A") - ord("a") for i in (3, 7, 11, 15, 19) if row[i]) for row in rows
      )
      / 300
    )

  by_chance = plain(80)
  assert plain(0) == 1 and plain(79) - by_chance < 0.1 and plain(200) < 0.5
  assert plain(40) == pytest.approx((1 + by_chance) / 2, abs=0.1)


@pytest.mark.parametrize("family", GAPS)
def test_a_question_is_read_as_the_rows_of_the_training_are(family):
  batch = HiddenLabels(TASK, family, plain=0).batch(0, rows=40, seed=3)
  row = next(b for b in range(40) if batch.weights_bt[b].sum() == 1 and batch.segments_bt[b].sum() > 1)
  size = int(batch.segments_bt[row].sum())
  whole = BYTES.decode(TASK.sequences(0, 40, 3)[row][1:])
  if family == "encoder_decoder":
    pairs = int(batch.source_segments_bs[row].sum()) // 4
  else:
    pairs = size // 4
  *before, last = whole.split(LAYOUT.separator)[:pairs]
  prompt = LAYOUT.separator.join([*before, f"{last[:2]}___"])
  (read,) = likelihood.rows_for(untrained(family), prompt, last[2])
  assert read.inputs == batch.inputs_bt[row, :size].tolist()
  assert (
    read.targets[read.first] == batch.targets_bt[row, read.first] and batch.weights_bt[row, read.first] == 1
  )
  if family == "encoder_decoder":
    assert read.source.tolist() == batch.source_bs[row, : 4 * pairs].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("family", GAPS)
def test_a_family_that_fills_gaps_is_trained_asked_and_fine_tuned(family):
  run = Run(
    model=Model(family=family, width=16, depth=1, head_width=8), data=Data(batch=6),
    optimizer=Optimizer(peak_learning_rate=1e-2), steps=25,
  )  # fmt: skip
  said = []
  restored = synthetic_training.train_model(run, rows_for(family, TASK), lambda step, loss: said.append(loss))
  assert said[-1] < 3 and restored.model.vocab == BYTES.vocab and restored.model.context == 20
  (point,) = in_context.accuracy_curve(restored, TASK, [2], 5, "letter", seed=0)
  assert all(one.prompt.endswith("___") and one.share == 8 / 20 for one in point.answers)
  found = in_context.fine_tuned_accuracy(
    restored, TASK, 2, "digit", num_mappings=2, questions=30, rate=1e-2, seed=0, rows=3
  )
  lengths = {"encoder": ((12, 0), (4, 0)), "encoder_decoder": ((2, 12), (2, 4))}[
    family
  ]  # with examples, and alone
  shown, bare = (counts.count_flops(restored.model, *each).total for each in lengths)
  assert found.context_flops == pytest.approx(30 * (shown - bare) / 3)
  assert found.steps == int(found.context_flops // (2 * bare)) and found.flops == found.steps * 2 * bare
  pairs = [("3a___", "B"), ("4b___", "A")]
  tuned = fixed_cost.fine_tune(restored, pairs, 20.5 * 2 * bare, 1e-2, rows=4)
  twice = fixed_cost.fine_tune(restored, pairs * 2, 20.5 * 4 * bare, 1e-2, rows=4)
  old, new, same = (
    [one.log_probability for one in likelihood.answer_likelihoods(model, pairs)]
    for model in (restored, tuned.restored, twice.restored)
  )
  assert all(b > a + 0.1 for a, b in zip(old, new, strict=True))
  assert new == pytest.approx(same, abs=1e-3)  # padding changes nothing


def test_a_decoder_reads_the_sequences_as_they_are():
  assert rows_for("decoder", TASK) is TASK and rows_for("lstm", TASK) is TASK
  assert rows_for("encoder", TASK) == HiddenLabels(TASK, "encoder")


@pytest.mark.parametrize(
  ("family", "sizes"), [("decoder", (19, 0)), ("encoder", (20, 0)), ("encoder_decoder", (10, 20))]
)
def test_the_flops_of_a_training_are_those_of_its_rows(family, sizes):
  run = Run(model=Model(family=family, width=16, depth=1, head_width=8), data=Data(batch=6), steps=7)
  rows = rows_for(family, TASK)
  model = synthetic_training.complete_model(run.model, rows.length)
  assert synthetic_training.training_flops(run, rows) == 7 * 6 * counts.count_flops(model, *sizes).total
