"""Distributions under settings, repetition and diversity are what a count by hand says; so are questions."""

import jax
import numpy as np
import pytest

from gen.config import Data, Model, Run
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.evaluation import decoding
from gen.evaluation.few_shot_tasks import docstring_questions
from gen.generation import loaded_model
from gen.generation.decoding.sampling import Sampler
from gen.models import language_model

BYTES = ByteTokenizer()


@pytest.fixture(scope="module")
def restored():
  model = Model(family="gru", vocab=260, width=8, depth=1, context=64)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), language_model.parameter_shapes(model)
  )
  return loaded_model.LoadedModel(
    model, params, BYTES, loaded_model.load_run(Run(model=model, data=Data()), BYTES), "a test"
  )


def test_the_next_token_has_the_models_probability_and_each_settings(restored):
  names, found = decoding.next_tokens(restored, "ab", decoding.SETTINGS, count=5)
  ids = np.array([[BYTES.bos, *BYTES.encode("ab")]])
  chances = np.asarray(
    jax.nn.softmax(restored.module.apply({"params": restored.params}, ids)[0, -1]), np.float64
  )
  top = np.argsort(-chances, kind="stable")[:5]
  assert names == [BYTES.name(int(number)) for number in top]
  by_name = {one.setting: one for one in found}
  own = by_name["the model's own"]
  assert own.probabilities == pytest.approx(chances[top].tolist(), abs=1e-6)
  assert own.entropy == pytest.approx(-(chances * np.log(chances)).sum(), abs=1e-4) and own.kept == 260
  assert by_name["greedy"].probabilities == [1, 0, 0, 0, 0] and by_name["greedy"].entropy == 0
  assert by_name["top-k 5"].kept == 5
  assert by_name["top-k 5"].probabilities == pytest.approx(
    (chances[top] / chances[top].sum()).tolist(), abs=1e-5
  )
  assert by_name["temperature 0.5"].entropy < own.entropy < by_name["temperature 1.5"].entropy
  with pytest.raises(UserError, match="top_k 999"):
    decoding.next_tokens(restored, "ab", {"wide": Sampler(top_k=999)})


def test_texts_of_a_setting_are_counted(restored):
  greedy = decoding.sample_texts(
    restored, ["ab", "c"], "greedy", Sampler(temperature=0.0), samples=2, tokens=12, seed=0
  )
  free = decoding.sample_texts(
    restored, ["ab", "c"], "free", Sampler(temperature=1.5), samples=2, tokens=12, seed=0
  )
  assert greedy.diversity <= 0.5 < free.diversity <= 1  # both greedy texts of a prompt are the same
  assert 0 <= free.repetition <= greedy.repetition < 1 and greedy.nats < free.nats
  with pytest.raises(UserError, match="there is no prompt"):
    decoding.sample_texts(restored, [], "none", Sampler(), samples=1, tokens=1, seed=0)


GOOGLE = """Sums an array along an axis.

Args:
    axis (int): The axis along which to sum.
    keep: Too short.
    where (array of bool): Which of the elements are
        included in it.

Returns:
    total: The sum of all the elements there.
"""
NUMPY = """Draws a line between points.

Parameters
----------
x, y : float
    Coordinates of the two end points.
style : str, optional
    How the line is drawn on the page.

Notes
-----
style : str
    This is not a parameter at all, only a note.
"""


def test_questions_are_the_parameters_that_docstrings_explain():
  found = list(docstring_questions.read_questions(GOOGLE + "\n" + NUMPY, 7))
  assert [(one.name, one.answer) for one in found] == [
    ("axis", "The axis along which to sum."), ("where", "Which of the elements are"),
    ("style", "How the line is drawn on the page."),
  ]  # fmt: skip
  assert (
    found[0].summary == "Sums an array along an axis." and found[2].summary == "Draws a line between points."
  )
  assert found[2].prompt == "Draws a line between points.\n\nArgs:\n    style: " and found[2].document == 7


def test_answers_that_the_training_text_holds_are_not_asked_for():
  trained = ["Something about The axis along which to sum. And more."]
  asked = docstring_questions.draw_questions([GOOGLE, NUMPY], trained, 9)
  assert sorted(one.name for one in asked) == ["style", "where"]
  assert {one.name: one.document for one in asked} == {"where": 0, "style": 1}
  assert len(docstring_questions.draw_questions([GOOGLE, NUMPY], trained, 1)) == 1
  with pytest.raises(UserError, match="explains no parameter"):
    docstring_questions.draw_questions([GOOGLE], [GOOGLE], 9)
