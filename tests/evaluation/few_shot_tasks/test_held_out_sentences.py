"""Questions about sentences are balanced, kept out of the training, and asked as far as the window allows."""

import collections

import jax
import pytest

from gen.config import Data, Model, Run
from gen.data.sources.python_packages import environment
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.evaluation.few_shot_tasks import held_out_sentences
from gen.evaluation.few_shot_tasks.held_out_sentences import Sentence
from gen.generation import loaded_model
from gen.models import language_model

SOURCE = '''
class Box:
  """A box that holds {name}.

  More of it.
  """

  def open(self):
    """Open the box of {name}."""

  def unsaid(self): ...

  async def close(self):
    """Closed without a stop"""
'''


@pytest.fixture
def files(tmp_path, monkeypatch):
  """Three packages of four files each."""
  found = []
  for package in ("ants", "bees", "cats"):
    for number in range(4):
      path = tmp_path / f"{package}{number}.py"
      path.write_text(SOURCE.format(name=f"{package} {number}"))
      found.append((f"{package}/m{number}.py", path))
  monkeypatch.setattr(environment, "python_files", lambda: found)
  return found


def test_first_sentences_are_read_with_what_they_tell_of(files):
  found = held_out_sentences.held_out_sentences(1.0)
  assert len(found) == 3 * 4 * 2
  assert found[0] == Sentence("A box that holds ants 0.", "class", "ants")
  assert found[1] == Sentence("Open the box of ants 0.", "function", "ants")


def test_sentences_of_the_training_are_left_out(files):
  some, every = held_out_sentences.held_out_sentences(0.5), held_out_sentences.held_out_sentences(1.0)
  assert 0 < len(some) < len(every) and set(some) < set(every)
  trained = ["Other text.\n\nOpen the box of bees 2.\n", '  """A box that holds cats 1."""']
  left = {one.text for one in held_out_sentences.held_out_sentences(1.0, trained)}
  assert {one.text for one in every} - left == {"Open the box of bees 2.", "A box that holds cats 1."}


def test_a_sentence_of_two_packages_or_kinds_is_no_question(files):
  files[5][1].write_text(SOURCE.format(name="ants 0"))
  found = {one.text for one in held_out_sentences.held_out_sentences(1.0)}
  assert not {"A box that holds ants 0.", "Open the box of ants 0."} & found
  assert held_out_sentences.held_out_sentences(1.0, max_words=5) == []


@pytest.mark.parametrize(("name", "answers"), [("package", 3), ("kind", 2)])
def test_each_answer_is_right_equally_often(files, name, answers):
  asked = held_out_sentences.make_task(name, held_out_sentences.held_out_sentences(1.0), 12, seed=1)
  counts = collections.Counter(item[name] for item in asked.items)
  assert len(counts) == answers and set(counts.values()) == {12 // answers}
  assert asked.chance == 1 / answers
  assert all(held_out_sentences.answer_choices(item) == sorted(counts) for item in asked.items)
  assert (
    asked.items
    == held_out_sentences.make_task(name, held_out_sentences.held_out_sentences(1.0), 12, seed=1).items
  )


def test_endings_are_offered_beside_those_of_three_other_sentences():
  found = [Sentence(f"Word {i} begins and {i} ends.", "class", "ants") for i in range(14)]
  asked = held_out_sentences.make_task("ending", found, 9, seed=2)
  whole = {one.text for one in found}
  assert len(asked.items) == 9
  for item in asked.items:
    assert f"{item['beginning']} {item['ending']}" in whole
    offered = held_out_sentences.answer_choices(item)
    assert item["ending"] in offered and len(set(offered)) == 4


def test_too_few_sentences_and_unknown_tasks_are_refused(files):
  found = held_out_sentences.held_out_sentences(1.0)
  for few in ([], found[:3]):
    for name in ("package", "ending"):
      with pytest.raises(UserError, match=f"task {name} needs"):
        held_out_sentences.make_task(name, few, 12)
  with pytest.raises(UserError, match="no task 'colour'; choose from package, kind, ending"):
    held_out_sentences.make_task("colour", found, 12)


def untrained(family, objective, context):
  tokenizer = ByteTokenizer()
  model = Model(family=family, vocab=tokenizer.vocab, width=16, depth=1, head_width=8, context=context)
  reading = loaded_model.load_run(Run(model=model, data=Data(objective=objective)), tokenizer)
  params = language_model.initialize_parameters(model, jax.random.key(0))
  return loaded_model.LoadedModel(model, params, tokenizer, reading, "untrained")


@pytest.mark.parametrize(
  ("family", "objective"),
  [("decoder", "causal"), ("encoder", "masked"), ("encoder_decoder", "span_corruption"), ("gru", "causal")],
)
def test_any_family_is_asked_with_as_many_examples_as_fit(files, family, objective):
  restored = untrained(family, objective, 128)
  asked = held_out_sentences.make_task("kind", held_out_sentences.held_out_sentences(1.0), 8)
  curve = held_out_sentences.accuracy_curve(restored, asked, [0, 2, 5])
  assert [point.k for point in curve] == ([0, 2, 5] if family == "gru" else [0, 2])
  for point in curve:
    assert point.low <= point.accuracy <= point.high
    for one, item in zip(point.answers, asked.items, strict=True):
      lines = one.prompt.split("\n")
      assert len(lines) == point.k + 1 and lines[-1].startswith(f"{item['sentence']} [")
      assert all(item["sentence"] not in line for line in lines[:-1])
      assert lines[-1].endswith("___]") == (family in ("encoder", "encoder_decoder"))
      assert set(one.log_probabilities) == {"class", "function"}
  if family != "gru":
    assert curve[1].share == pytest.approx(sum(one.share for one in curve[1].answers) / 8)
    with pytest.raises(UserError, match="even 5 examples of task kind need"):
      held_out_sentences.accuracy_curve(restored, asked, [5])
