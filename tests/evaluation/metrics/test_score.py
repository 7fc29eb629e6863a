"""Scores of tasks: their intervals, differences, baselines, and what is refused."""

import numpy as np
import pytest

from gen.data.tasks.examples import (
  DialogueExample,
  Message,
  PairExample,
  QuestionExample,
  TaggedExample,
  TaskData,
  TextExample,
)
from gen.errors import UserError
from gen.evaluation.metrics import baselines, number_scores, resampling, rouge, score


def texts(labels, documents=()):
  documents = documents or [""] * len(labels)
  return [
    TextExample(f"text {i}", label, document=name)
    for i, (label, name) in enumerate(zip(labels, documents, strict=True))
  ]


def test_the_interval_of_an_accuracy_is_that_of_the_binomial():
  examples = texts(["a", "b"] * 200)
  predictions = ["a"] * 300 + [example.label for example in examples[300:]]
  found = score.score_predictions("classify", predictions, examples)
  spread = 1.96 * np.sqrt(found.value * (1 - found.value) / 400)
  assert found.value == pytest.approx(0.625)
  assert (found.low, found.high) == pytest.approx((found.value - spread, found.value + spread), abs=0.01)
  assert found == score.score_predictions("classify", predictions, examples)
  assert found.intervals["accuracy"] == (found.low, found.high)


def test_documents_are_drawn_whole():
  labels, documents = ["a", "b"] * 60, [f"d{i // 20}" for i in range(120)]
  predictions = ["a"] * 60 + labels[60:]
  whole = score.score_predictions("classify", predictions, texts(labels, documents))
  alone = score.score_predictions("classify", predictions, texts(labels))
  assert whole.value == alone.value and whole.high - whole.low > 1.5 * (alone.high - alone.low)
  assert "by:document" in whole.signature and "by:example" in alone.signature


def test_a_resample_scores_as_the_corpus_that_it_is():
  rng = np.random.default_rng(5)
  predicted, true = rng.normal(size=(2, 13)).round(1)
  evaluator = number_scores.evaluate_numbers(predicted, true)
  counts = rng.multinomial(13, np.full(13, 1 / 13), size=3)
  rows = [np.repeat(np.arange(13), each) for each in counts]
  alone = [resampling.evaluate_once(number_scores.evaluate_numbers(predicted[i], true[i]), 13) for i in rows]
  together = evaluator.evaluate(counts.astype(float))
  for name, values in together.items():
    assert values == pytest.approx([each[name] for each in alone])


def test_a_paired_difference_is_tighter_than_the_scores():
  examples = texts(["a", "b"] * 100)
  first = [example.label for example in examples]
  first[:40] = ["a"] * 40
  second = [*first[:190], *["a"] * 10]
  difference = score.compare_predictions("classify", first, second, examples)
  single = score.score_predictions("classify", second, examples)
  assert difference.value == pytest.approx(5 / 200) and difference.low > 0 and difference.share > 0.95
  assert difference.high - difference.low < single.high - single.low


def test_tags_without_prefixes_score_as_classes_of_tokens():
  examples = [TaggedExample(("a", "dog"), ("DET", "NOUN")), TaggedExample(("barks",), ("VERB",))]
  found = score.score_predictions("tag", [("DET", "VERB"), ("VERB",)], examples)
  assert found.name == "accuracy" and found.value == pytest.approx(2 / 3)


def test_sentences_without_an_entity_have_the_metric_of_entities_where_the_data_has_some():
  examples, labels = [TaggedExample(("a", "dog"), ("O", "O"))], ("B-X", "O")
  for predicted in (("O", "O"), ("B-X", "O")):
    found = score.score_predictions("tag", [predicted], examples, labels=labels)
    assert (found.name, found.value) == ("entity_f1", 0.0)
  assert score.score_predictions("tag", [("O", "O")], examples).name == "accuracy"
  train = [TaggedExample(("Ann", "sings"), ("B-X", "O"))]
  assert baselines.score_baseline(data("tag", train, examples, labels)).name == "entity_f1"


def test_a_number_that_is_not_finite_has_no_correlation_and_a_large_one_has():
  examples = [TextExample("t", "", label_value=value) for value in (0.0, 1.0, 2.0, 5.0)]
  assert np.isnan(score.score_predictions("classify", [np.nan, 1.0, 2.0, 3.0], examples).value)
  large = score.score_predictions("classify", [1e200 * value for value in (0.0, 1.0, 2.0, 5.0)], examples)
  assert large.values["pearson"] == pytest.approx(1.0)


def test_a_subsequence_is_as_long_as_by_the_table():
  rng = np.random.default_rng(3)
  for _ in range(40):
    first, second = (list(map(str, rng.integers(0, 4, rng.integers(0, 90)))) for _ in range(2))
    table = np.zeros((len(first) + 1, len(second) + 1), int)
    for i, one in enumerate(first, 1):
      for j, two in enumerate(second, 1):
        table[i, j] = table[i - 1, j - 1] + 1 if one == two else max(table[i - 1, j], table[i, j - 1])
    assert rouge.common_subsequence(first, second) == table[-1, -1]


def test_words_of_three_letters_are_not_stemmed():
  assert rouge.split_words("Its was dying", stemmer=True) == ["its", "was", "die"]


def data(task, train, test, labels=()):
  return TaskData(task, tuple(train), (), tuple(test), tuple(labels), "made", "")


def test_baselines_need_no_model():
  classes = data("classify", texts(["b", "a", "b"]), texts(["b", "a"]), ("a", "b"))
  assert baselines.score_baseline(classes).value == 0.5
  tagged = [TaggedExample(("Ann", "sings"), ("B-PER", "O"))]
  assert baselines.score_baseline(data("tag", tagged, tagged, ("B-PER", "O"))).values["entity_f1"] == 1
  pairs = [PairExample("One of two. Two.", "One of two.")]
  assert baselines.score_baseline(data("summarize", pairs, pairs)).value == 100
  assert baselines.predict_baseline(data("translate", pairs, pairs), pairs) == ["One of two. Two."]
  questions = [QuestionExample("Who?", "Ann. Bob.", ("Bob",), (5,)), QuestionExample("Why?", "Ann.", (), ())]
  assert (
    baselines.score_baseline(data("answer", questions, questions), "no_answer").values["exact_match"] == 0.5
  )
  dialogue = [DialogueExample((Message("user", "say yes"), Message("assistant", "yes")))]
  assert baselines.score_baseline(data("instruct", dialogue, dialogue)).values["rouge1"] == pytest.approx(
    200 / 3
  )
  numbers = [TextExample("t", "", label_value=value) for value in (1.0, 2.0, 6.0)]
  assert baselines.predict_baseline(data("classify", numbers, numbers), numbers) == [3.0] * 3


@pytest.mark.parametrize(
  ("task", "predictions", "examples", "says"),
  [
    ("classify", [], [], "no examples to score"),
    ("classify", ["a"], texts(["a", "b"]), "1 predictions for 2 examples"),
    ("classify", ["a", "c"], texts(["a", "b"]), "prediction 2 is 'c', which is none of the labels"),
    ("tag", [("O",)], [TaggedExample(("a", "b"), ("O", "B-X"))], "1 tags for 2 tokens"),
    ("translate", [3], [PairExample("a", "b")], "it must be a text"),
    ("tag", [None], [TaggedExample(("a",), ("O",))], "prediction 1 is None; it must be a list of tags"),
    ("answer", [None], [QuestionExample("Who?", "Ann.", (), ())], "it must be a text"),
    ("sing", ["a"], texts(["a"]), "there is no task 'sing'"),
  ],
)
def test_what_cannot_be_scored_is_one_sentence(task, predictions, examples, says):
  with pytest.raises(UserError, match=says):
    score.score_predictions(task, predictions, examples, labels=("a", "b") if task == "classify" else ())
