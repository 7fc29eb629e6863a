"""Sequences say what their mapping is and nothing else does; fine-tuning costs what reading examples would."""

import collections
import re

import jax
import numpy as np
import pytest

from gen import counts
from gen.config import Data, Model, Optimizer, Run
from gen.errors import UserError
from gen.evaluation import likelihood
from gen.evaluation.synthetic import synthetic_training
from gen.evaluation.synthetic.arithmetic import Arithmetic, is_held_out
from gen.evaluation.synthetic.label_mapping_task import LAYOUT, LabelMappingTask
from gen.evaluation.synthetic.synthetic_training import BYTES
from gen.finetuning.in_context_learning import fixed_cost, in_context

TASK = LabelMappingTask(letters=3, pairs=5)


def texts(batch):
  """Returns rows as text, the last target at their end."""
  ids_bt = np.concatenate([batch.inputs_bt, batch.targets_bt[:, -1:]], axis=1)
  assert (ids_bt[:, 0] == BYTES.bos).all() and (batch.inputs_bt[:, 1:] == batch.targets_bt[:, :-1]).all()
  return [BYTES.decode(row[1:]) for row in ids_bt]


def test_each_sequence_follows_a_mapping_of_its_own_and_labels_bear_its_loss():
  batch = TASK.batch(3, rows=40, seed=1)
  assert batch.inputs_bt.shape == (40, TASK.length)
  mappings = set()
  for text, targets_t, bears_t in zip(texts(batch), batch.targets_bt, batch.weights_bt, strict=True):
    pairs = text.split(LAYOUT.separator)
    assert len(pairs) == 5 and all(re.fullmatch(r"\d[abc][ABC]", pair) for pair in pairs)
    mapping = {pair[1]: pair[2] for pair in pairs}
    assert all(pair[2] == mapping[pair[1]] for pair in pairs) and len(set(mapping.values())) == len(mapping)
    assert BYTES.decode(targets_t[bears_t > 0]) == "".join(pair[2] for pair in pairs)
    mappings.add(tuple(sorted(mapping.items())))
  assert len(mappings) > 10
  again, other = TASK.batch(3, rows=40, seed=1), TASK.batch(4, rows=40, seed=1)
  assert (again.inputs_bt == batch.inputs_bt).all() and (other.inputs_bt != batch.inputs_bt).any()


@pytest.mark.parametrize("kind", ["letter", "digit"])
def test_questions_have_mappings_that_go_by_a_letter_or_by_a_digit(kind):
  items = TASK.items(60, seed=2, goes_by=kind)
  assert len({item["mapping"] for item in items}) > 5
  for item in items:
    pool = TASK.pool(item)
    assert len(pool) == 30 and {"word": item["word"], "label": item["label"]} in pool
    place = 1 if kind == "letter" else 0
    decides = collections.defaultdict(set)
    for one in pool:
      decides[one["word"][place]].add(one["label"])
    assert all(len(labels) == 1 for labels in decides.values())
    assert {label for labels in decides.values() for label in labels} == set("ABC")


@pytest.mark.parametrize("k", [0, 1, 2, 3, 7])
def test_the_best_accuracy_is_that_of_who_knows_the_mapping_as_far_as_it_was_shown(k):
  right, items = 0.0, TASK.items(400, seed=5)
  for number, item in enumerate(items):
    pool = TASK.pool(item)
    shown = [pool[i] for i in LAYOUT.few_shot(item, pool, k, number).examples]
    known = {one["word"][1]: one["label"] for one in shown}
    letter = item["word"][1]
    right += known[letter] == item["label"] if letter in known else 1 / (3 - len(known))
  assert right / len(items) == pytest.approx(TASK.best(k), abs=0.06)


RUN = Run(
  model=Model(width=16, depth=1, head_width=8), data=Data(batch=6), optimizer=Optimizer(peak_learning_rate=1e-2),
  steps=30,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained():
  said = []
  return synthetic_training.train_model(RUN, TASK, lambda step, loss: said.append((step, loss))), said


def test_a_model_learns_the_form_of_an_exercise(trained):
  restored, said = trained
  assert [step for step, _ in said] == [20, 30]
  assert said[-1][1] < said[0][1] and said[-1][1] < 2.5  # nats; 5.6 untrained
  assert restored.model.context == TASK.length and restored.model.vocab == 260
  curve = in_context.accuracy_curve(restored, TASK, [0, 2], 9, "letter", seed=0)
  assert [point.k for point in curve] == [0, 2] and len(curve[1].answers) == 9
  for one in curve[1].answers:
    examples, (word,) = one.prompt.split(" ")[:-1], one.prompt.split(" ")[-1:]
    assert len(examples) == 2 and word not in [example[:2] for example in examples]
    assert one.share == 8 / TASK.length
  with pytest.raises(UserError, match="cannot be trained on this task"):
    synthetic_training.train_model(Run(model=Model(family="encoder"), steps=1), TASK)


def test_fine_tuning_spends_what_reading_the_examples_costs(trained):
  restored, _ = trained
  found = in_context.fine_tuned_accuracy(
    restored, TASK, 2, "digit", num_mappings=2, questions=30, rate=1e-2, seed=0, rows=4
  )
  per_text = [
    counts.count_flops(restored.model, tokens).total for tokens in (3, 11)
  ]  # bos and a word; 2 pairs before it
  assert found.context_flops == pytest.approx(30 * (per_text[1] - per_text[0]) / 3)
  assert found.steps == int(found.context_flops // (2 * counts.count_flops(restored.model, 3).total))
  assert found.flops <= found.context_flops < found.flops * (1 + 1 / found.steps)
  assert 0 <= found.low <= found.accuracy <= found.high <= 1


def test_fine_tuning_makes_the_answers_likelier_and_leaves_the_model_as_it_was(trained):
  restored, _ = trained
  pairs = [("3a", "B"), ("4b", "A")]
  before = jax.tree.map(np.array, restored.params)
  price = sum(counts.count_flops(restored.model, 3).total for _ in pairs)
  tuned = fixed_cost.fine_tune(restored, pairs, 20.5 * price, 1e-2, rows=4)
  assert (tuned.steps, tuned.flops) == (20, 20 * price)
  twice = fixed_cost.fine_tune(restored, pairs * 2, 20.5 * 2 * price, 1e-2, rows=4)
  old, new, same = (
    [one.log_probability for one in likelihood.answer_likelihoods(model, pairs)]
    for model in (restored, tuned.restored, twice.restored)
  )
  assert all(b > a + 0.1 for a, b in zip(old, new, strict=True))
  assert new == pytest.approx(same, abs=1e-3)  # neither padding nor weight changes the mean
  assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), before, restored.params))
  assert fixed_cost.fine_tune(restored, pairs, 0.5 * price, 1e-2, rows=4).steps == 0
  with pytest.raises(UserError, match="no examples to fine-tune on"):
    fixed_cost.fine_tune(restored, [], 1e9, 1e-2)


def test_padding_and_prompts_bear_no_loss():
  batch = synthetic_training.batch_of_texts([("ab=", "cd"), ("e=", "f")], 8)
  assert batch.inputs_bt.shape == (2, 8)
  bears = [
    BYTES.decode(row[w > 0], keep_special=True)
    for row, w in zip(batch.targets_bt, batch.weights_bt, strict=True)
  ]
  assert bears == ["cd</s>", "f</s>"]
  assert batch.segments_bt.sum(1).tolist() == [6, 4]


def test_problems_to_judge_by_are_never_trained_on():
  for calls in (True, False):
    task = Arithmetic(2, calls)
    held = task.held_out(50, seed=3)
    assert len(set(held)) == 50 and all(is_held_out(problem) for problem in held)
    rows = [text for step in range(3) for text in texts(task.batch(step, 50))]
    for row in rows:
      problem, written = row.split("=", 1)
      assert not is_held_out(problem)
      assert task.answer(written) == str(eval(problem))
    assert {row[2] for row in rows} == set("+-*")


def test_an_answer_is_read_from_a_call_or_from_bare_digits():
  calls, plain = Arithmetic(3), Arithmetic(3, calls=False)
  assert calls.answer('[calculator("1") -> -12]') == "-12" and plain.answer("-12") == "-12"
  for text in ("12", '[calculator("1") -> error: no]', '[calculator("1") -> 12', ""):
    assert calls.answer(text) is None
  for text in ("", "1 2", "[12]"):
    assert plain.answer(text) is None
  with pytest.raises(UserError, match="operators '/' are unknown"):
    Arithmetic(2, operators="/")
  with pytest.raises(UserError, match="ask for at most 7"):
    Arithmetic(1).held_out(100)
