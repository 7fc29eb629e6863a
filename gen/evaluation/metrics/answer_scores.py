"""Exact match and F1 of answers, equal to SQuAD's official scripts (v1.1 and v2.0), as shares from 0 to 1.

Answers compare without case, punctuation, articles and white space; the best of the accepted answers counts. With
questions that have no answer (v2.0), an empty prediction is right for them, and the thresholds of a no-answer score
that give the best exact match and F1 are found.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen.data.tasks.examples import QuestionExample
from gen.evaluation.metrics.resampling import Evaluator, divide_or_zero, evaluate_sums

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class AnswerPrediction(NamedTuple):
  """A predicted answer.

  Attributes:
    text: the best answer; empty if there is none.
    no_answer: score of there being no answer, larger for less answerable questions.
  """

  text: str
  no_answer: float = 0.0


def normalize_answer(text: str) -> str:
  """Returns an answer in small letters without punctuation, articles and repeated white space.

  >>> normalize_answer("The  Eiffel-Tower!")
  'eiffeltower'
  """
  # In the script's order: punctuation first, so "a-b" becomes the word "ab", and then articles.
  return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def match_answer(prediction: str, answers: Sequence[str], has_impossible: bool) -> tuple[float, float]:
  """Returns (exact match, F1) of a prediction against accepted answers.

  Args:
    prediction: empty for no answer.
    answers: accepted; none if there is no answer.
    has_impossible: whether the data has questions without answers, as SQuAD v2.0; its script then compares empty texts.
  """
  if has_impossible:
    # As the script of v2.0: answers that normalize to nothing count as none.
    answers = [answer for answer in answers if normalize_answer(answer)] or [""]
  predicted = normalize_answer(prediction)
  accepted = [normalize_answer(answer) for answer in answers]
  words = predicted.split()
  exact = max(float(answer == predicted) for answer in accepted)
  return exact, max(_f1(words, answer.split(), has_impossible) for answer in accepted)


def _f1(predicted: Sequence[str], true: Sequence[str], has_impossible: bool) -> float:
  if has_impossible and (not predicted or not true):
    return float(not predicted and not true)
  common = (Counter(predicted) & Counter(true)).total()
  if not common:
    return 0.0
  precision, recall = common / len(predicted), common / len(true)
  return 2 * precision * recall / (precision + recall)


def find_best_threshold(
  scores: Sequence[float], no_answers: Sequence[float], answerable: Sequence[bool], predictions: Sequence[str]
) -> tuple[float, float]:
  """Returns (best mean score, threshold): questions whose no-answer score is above it are answered by nothing.

  Args:
    scores: of each prediction, as it stands.
    no_answers: no-answer score of each question.
    answerable: whether each question has an answer.
    predictions: texts.
  """
  # The start is a threshold below all scores: nothing is answered, which is right where there is no answer.
  current = best = float(sum(not has for has in answerable))
  threshold = 0.0
  # From the most answerable question on: each is now answered, and the score changes by what that gains or loses.
  for index in sorted(range(len(scores)), key=lambda index: no_answers[index]):
    current += scores[index] if answerable[index] else -float(bool(predictions[index]))
    if current > best:
      best, threshold = current, no_answers[index]
  return best / len(scores), threshold


def evaluate_answers(
  predictions: Sequence[str | AnswerPrediction], examples: Sequence[QuestionExample]
) -> Evaluator:
  """Returns the metrics of predicted answers; thresholds too where predictions have no-answer scores."""
  answerable = [bool(example.answers) for example in examples]
  impossible = not all(answerable)
  full = [each if isinstance(each, AnswerPrediction) else AnswerPrediction(each) for each in predictions]
  pairs = [
    match_answer(each.text, example.answers, impossible) for each, example in zip(full, examples, strict=True)
  ]
  has_n = np.array(answerable, np.float64)
  pairs_n2 = np.array(pairs)
  sums_ns = np.concatenate(
    [pairs_n2, pairs_n2 * has_n[:, None], np.stack([has_n, np.ones(len(pairs))], 1)], 1
  )
  has_scores = any(isinstance(each, AnswerPrediction) for each in predictions)
  # Found once on all examples, as the script does: a threshold of each resample would be fitted to it.
  fixed = _thresholds(full, pairs, answerable) if has_scores else {}

  def finish(sums_bs: np.ndarray) -> dict[str, np.ndarray]:
    exact_b, f1_b, has_exact_b, has_f1_b, has_b, total_b = sums_bs.T
    values = {"f1": divide_or_zero(f1_b, total_b), "exact_match": divide_or_zero(exact_b, total_b)}
    if impossible:
      values |= {
        "has_answer_exact": divide_or_zero(has_exact_b, has_b),
        "has_answer_f1": divide_or_zero(has_f1_b, has_b),
        # By difference, since the sums of all and of the answerable are already there.
        "no_answer_exact": divide_or_zero(exact_b - has_exact_b, total_b - has_b),
        "no_answer_f1": divide_or_zero(f1_b - has_f1_b, total_b - has_b),
      }
    return values | {name: np.full(len(sums_bs), value) for name, value in fixed.items()}

  return Evaluator("f1", evaluate_sums(sums_ns, finish), f"squad:{'v2.0' if impossible else 'v1.1'}")


def _thresholds(
  predictions: Sequence[AnswerPrediction], pairs: Sequence[tuple[float, float]], answerable: Sequence[bool]
) -> dict[str, float]:
  texts, no_answers = [each.text for each in predictions], [each.no_answer for each in predictions]
  values: dict[str, float] = {}
  for index, name in enumerate(("exact", "f1")):
    best, threshold = find_best_threshold([pair[index] for pair in pairs], no_answers, answerable, texts)
    values |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
  return values
