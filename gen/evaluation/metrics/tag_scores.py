"""Precision, recall and F1 of entities, equal to seqeval's, and accuracy of tags. N sentences, L types, B resamples."""

from collections.abc import Sequence

import numpy as np

from gen.evaluation.metrics.class_scores import evaluate_classes
from gen.evaluation.metrics.entities import Entity, find_entities, find_strict_entities
from gen.evaluation.metrics.resampling import Evaluator, divide_or_zero, evaluate_sums

_SPANS = ("B-", "I-", "E-", "S-", "L-", "U-")


def evaluate_tags(
  predictions: Sequence[Sequence[str]],
  tags: Sequence[Sequence[str]],
  scheme: str = "IOB2",
  labels: Sequence[str] = (),
) -> Evaluator:
  """Returns entity metrics where tags have prefixes, and class metrics over tokens where they have none.

  Args:
    predictions: tags of each sentence, as many as it has tokens.
    tags: the true ones.
    scheme: of both, for the strict mode.
    labels: all tags of the data: sentences without an entity have the metrics of the others.
  """
  names = {tag for sequence in (*tags, *predictions, labels) for tag in sequence} - {"O"}
  if not names or not all(name.startswith(_SPANS) for name in names):
    return _evaluate_tokens(predictions, tags)
  true, predicted = ([find_entities(each) for each in sequences] for sequences in (tags, predictions))
  strict_true, strict_predicted = (
    [find_strict_entities(each, scheme) for each in sequences] for sequences in (tags, predictions)
  )
  types = sorted({entity[0] for entities in (*true, *predicted) for entity in entities})
  # Types of the strict mode are counted apart: a span that it drops must not enter its macro average.
  strict_types = sorted({entity[0] for entities in (*strict_true, *strict_predicted) for entity in entities})
  sums_ns = np.concatenate(
    [_sum_types(true, predicted, types), _sum_types(strict_true, strict_predicted, strict_types),
     _sum_tokens(predictions, tags)], axis=1)  # fmt: skip
  ends = 3 * len(types), 3 * (len(types) + len(strict_types))

  def finish(sums_bs: np.ndarray) -> dict[str, np.ndarray]:
    values = _finish_types(sums_bs[:, : ends[0]], types, "")
    values |= _finish_types(sums_bs[:, ends[0] : ends[1]], strict_types, "_strict")
    return values | {"accuracy": divide_or_zero(sums_bs[:, -2], sums_bs[:, -1])}

  return Evaluator("entity_f1", evaluate_sums(sums_ns, finish), f"spans:conll|strict:{scheme}")


def _sum_types(
  true: Sequence[list[Entity]], predicted: Sequence[list[Entity]], types: Sequence[str]
) -> np.ndarray:
  """Returns correct, predicted and true entities of each type of each sentence [N, 3 L]."""
  number = {name: index for index, name in enumerate(types)}
  sums_n3l = np.zeros((len(true), 3, len(types)))
  for row, (first, second) in enumerate(zip(true, predicted, strict=True)):
    for which, entities in enumerate((set(first) & set(second), set(second), set(first))):
      for entity in entities:
        sums_n3l[row, which, number[entity[0]]] += 1
  return sums_n3l.reshape(len(true), -1)


def _finish_types(sums_bs: np.ndarray, types: Sequence[str], ending: str) -> dict[str, np.ndarray]:
  correct_bl, predicted_bl, true_bl = np.split(sums_bs, 3, axis=1)
  correct_b, predicted_b, true_b = correct_bl.sum(1), predicted_bl.sum(1), true_bl.sum(1)
  # 2 P R / (P + R) with both fractions written out.
  f1_bl = divide_or_zero(2 * correct_bl, predicted_bl + true_bl)
  present_bl = predicted_bl + true_bl > 0
  values = {
    f"entity_f1{ending}": divide_or_zero(2 * correct_b, predicted_b + true_b),
    f"entity_precision{ending}": divide_or_zero(correct_b, predicted_b),
    f"entity_recall{ending}": divide_or_zero(correct_b, true_b),
    f"entity_macro_f1{ending}": divide_or_zero((f1_bl * present_bl).sum(1), present_bl.sum(1)),
  }
  if not ending:
    values |= {f"entity_f1/{name}": f1_bl[:, index] for index, name in enumerate(types)}
  return values


def _sum_tokens(predictions: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> np.ndarray:
  """Returns correct and all tokens of each sentence [N, 2]."""
  return np.array(
    [
      (sum(first == second for first, second in zip(predicted, true, strict=True)), len(true))
      for predicted, true in zip(predictions, tags, strict=True)
    ],
    np.float64,
  ).reshape(-1, 2)


def _evaluate_tokens(predictions: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> Evaluator:
  flat = evaluate_classes(
    [tag for each in predictions for tag in each], [tag for each in tags for tag in each]
  )
  sentence_of = np.repeat(np.arange(len(tags)), [len(each) for each in tags])
  # A sentence is drawn with all its tokens.
  return flat._replace(evaluate=lambda counts_bn: flat.evaluate(counts_bn[:, sentence_of]))
