"""Scores equal those that the field's libraries gave; scripts/make_score_fixtures.py recorded them."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from gen.data.tasks.examples import QuestionExample
from gen.evaluation.metrics import (
  answer_scores,
  class_scores,
  entities,
  number_scores,
  porter_stemmer,
  resampling,
  rouge,
  tag_scores,
  translation_scores,
)

FIXTURES = Path(__file__).parent / "fixtures"
SCHEMES = ("IOB1", "IOB2", "IOE1", "IOE2", "BIOES", "BILOU")


def recorded(name):
  return json.loads(lzma.decompress((FIXTURES / f"{name}.json.xz").read_bytes()))


def f1(true, predicted):
  common = len(set(true) & set(predicted))
  return 2 * common / (len(true) + len(predicted)) if common else 0.0


@pytest.fixture(scope="module")
def sequences():
  return recorded("entities")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_of_a_thousand_sequences_scores_as_seqeval_scores_it(sequences, scheme):
  case = sequences[scheme]
  pairs = [
    [[case["tags"][index] for index in each] for each in pair]
    for pair in zip(case["true"], case["predicted"], strict=True)
  ]
  assert len(pairs) == 1_000
  plain = [f1(*map(entities.find_entities, pair)) for pair in pairs]
  strict = [f1(*(entities.find_strict_entities(tags, scheme) for tags in pair)) for pair in pairs]
  assert plain == pytest.approx(case["f1"], abs=1e-8)
  assert strict == pytest.approx(case["strict_f1"], abs=1e-8)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_thousand_sequences_together_score_as_seqeval_scores_them(sequences, scheme):
  case = sequences[scheme]
  true, predicted = (
    [[case["tags"][index] for index in each] for each in case[name]] for name in ("true", "predicted")
  )
  values = resampling.evaluate_once(tag_scores.evaluate_tags(predicted, true, scheme), len(true))
  assert {name: values[name] for name in case["all"]} == pytest.approx(case["all"], abs=1e-12)


def test_rouge_is_that_of_rouge_score_with_and_without_stems():
  for prediction, target, plain, stemmed in recorded("texts")["pairs"]:
    assert rouge.score_rouge(prediction, target) == pytest.approx(plain, abs=1e-12)
    assert rouge.score_rouge(prediction, target, stemmer=True) == pytest.approx(stemmed, abs=1e-12)


def test_stems_are_those_of_the_stemmer_that_rouge_score_uses():
  stems = recorded("texts")["stems"]
  assert {word: porter_stemmer.stem_word(word) for word in stems} == stems


def test_classes_score_as_in_scikit_learn_and_numbers_as_in_scipy():
  for true, predicted, numbers, scores, correlations in recorded("classes"):
    evaluator = class_scores.evaluate_classes(predicted, true)
    assert resampling.evaluate_once(evaluator, len(true)) == pytest.approx(scores, abs=1e-12)
    values = resampling.evaluate_once(number_scores.evaluate_numbers(numbers[1], numbers[0]), len(true))
    assert {name: values[name] for name in correlations} == pytest.approx(correlations, abs=1e-12)


def test_answers_score_as_in_the_script_of_the_second_squad():
  names = {
    "exact": "exact_match", "f1": "f1", "HasAns_exact": "has_answer_exact", "HasAns_f1": "has_answer_f1",
    "NoAns_exact": "no_answer_exact", "NoAns_f1": "no_answer_f1", "best_exact": "best_exact", "best_f1": "best_f1",
  }  # fmt: skip
  for answers, texts, no_answers, scores in recorded("answers")["v2.0"]:
    examples = [QuestionExample("Who?", "A context.", tuple(each), (0,) * len(each)) for each in answers]
    predictions = [answer_scores.AnswerPrediction(*each) for each in zip(texts, no_answers, strict=True)]
    values = resampling.evaluate_once(answer_scores.evaluate_answers(predictions, examples), len(examples))
    assert [100 * values[mine] for mine in names.values()] == pytest.approx([scores[name] for name in names])
    for name in ("best_exact_thresh", "best_f1_thresh"):
      assert values[name] == scores[name]


def test_answers_score_as_in_the_script_of_the_first_squad():
  for answers, prediction, exact, score in recorded("answers")["v1.1"]:
    assert answer_scores.match_answer(prediction, answers, False) == pytest.approx((exact, score))


def test_translations_score_as_in_sacrebleu():
  sacrebleu = pytest.importorskip("sacrebleu")
  targets = [
    "The file cannot be opened.",
    "Click on the button, then on OK.",
    "A table with two rows",
    "Print",
  ]
  hypotheses = ["The file can not be opened.", "Click the button and then OK.", "A table of two rows", ""]
  evaluator = translation_scores.evaluate_translations(hypotheses, targets)
  values = resampling.evaluate_once(evaluator, len(targets))
  assert values["bleu"] == sacrebleu.corpus_bleu(hypotheses, [targets]).score
  assert values["chrf"] == sacrebleu.corpus_chrf(hypotheses, [targets]).score
  assert values["ter"] == sacrebleu.corpus_ter(hypotheses, [targets]).score
  assert "bleu|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:" in evaluator.signature
  # A resample is a corpus of its own.
  counts = np.array([[2.0, 0.0, 1.0, 1.0]])
  drawn = [0, 0, 2, 3]
  expected = sacrebleu.corpus_bleu([hypotheses[i] for i in drawn], [[targets[i] for i in drawn]]).score
  assert evaluator.evaluate(counts)["bleu"][0] == pytest.approx(expected)
