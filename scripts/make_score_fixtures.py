"""Writes tests/evaluation/metrics/fixtures: random predictions and what the field's libraries score them.

    python3 -m venv oracles
    oracles/bin/pip install seqeval==1.2.2 rouge-score==0.1.2 scikit-learn==1.9.1 transformers==4.57.1
    oracles/bin/python scripts/make_score_fixtures.py tests/evaluation/metrics/fixtures

Runs without gen, so that nothing of what is compared takes part. SQuAD's official script of v2.0 is the copy that
transformers has; that of v1.1 differs where an answer is nothing but articles and punctuation.
"""

import json
import lzma
import random
import sys
import types
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import seqeval.metrics
import seqeval.scheme
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats
from sklearn import metrics
from transformers.data.metrics import squad_metrics

SEQUENCES = 1_000
SCHEMES = {"IOB1": "BI", "IOB2": "BI", "IOE1": "IE", "IOE2": "IE", "BIOES": "BIES", "BILOU": "BILU"}
SEQEVAL_NAMES = {"BIOES": "IOBES"}
TYPES = ("PER", "LOC", "W-ORK")
WORDS = [
  "the", "cat", "cats", "relational", "conditional", "hopping", "hopped", "happily", "ponies", "skies",
  "dying", "agreed", "plastered", "motoring", "sized", "falling", "hissing", "fizzed", "failing", "filing",
  "generalization", "1889", "x-ray",
]  # fmt: skip
ANSWERS = ["the", "a", "an", "Eiffel", "tower,", "in", "Paris!", "1889", "x", "y-z"]
ENDS = (
  "",
  "ing",
  "ed",
  "ational",
  "alli",
  "logi",
  "ies",
  "ied",
  "eed",
  "y",
  "ness",
  "ization",
  "ll",
  "e",
  "s",
)


def score_sequences(random_source: random.Random) -> dict[str, Any]:
  """Returns for each scheme random tags, predictions, and seqeval's scores of each pair and of all."""
  schemes = {}
  for name, prefixes in SCHEMES.items():
    tags = ["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in TYPES)]
    true = [
      [random_source.choice(tags) for _ in range(random_source.randint(1, 9))] for _ in range(SEQUENCES)
    ]
    predicted = [
      [tag if random_source.random() < 0.8 else random_source.choice(tags) for tag in each] for each in true
    ]
    strict = {"mode": "strict", "scheme": getattr(seqeval.scheme, SEQEVAL_NAMES.get(name, name))}
    pairs = list(zip(true, predicted, strict=True))
    schemes[name] = {
      "tags": tags,
      "true": [[tags.index(tag) for tag in each] for each in true],
      "predicted": [[tags.index(tag) for tag in each] for each in predicted],
      "f1": [round(float(seqeval.metrics.f1_score([one], [two])), 9) for one, two in pairs],
      "strict_f1": [round(float(seqeval.metrics.f1_score([one], [two], **strict)), 9) for one, two in pairs],
      "all": {
        "entity_f1": float(seqeval.metrics.f1_score(true, predicted)),
        "entity_precision": float(seqeval.metrics.precision_score(true, predicted)),
        "entity_recall": float(seqeval.metrics.recall_score(true, predicted)),
        "entity_macro_f1": float(seqeval.metrics.f1_score(true, predicted, average="macro")),
        "entity_f1_strict": float(seqeval.metrics.f1_score(true, predicted, **strict)),
        "entity_precision_strict": float(seqeval.metrics.precision_score(true, predicted, **strict)),
        "entity_recall_strict": float(seqeval.metrics.recall_score(true, predicted, **strict)),
        "entity_macro_f1_strict": float(seqeval.metrics.f1_score(true, predicted, average="macro", **strict)),
        "accuracy": float(seqeval.metrics.accuracy_score(true, predicted)),
      },
    }
  return schemes


def score_texts(random_source: random.Random) -> dict[str, Any]:
  """Returns pairs of texts with rouge-score's F-measures, and words with their stems."""
  scorers = [RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stems) for stems in (False, True)]
  pairs = []
  for _ in range(120):
    target = " ".join(random_source.choice(WORDS) for _ in range(random_source.randint(0, 18)))
    words = target.split() + random_source.sample(WORDS, 3)
    random_source.shuffle(words)
    prediction = ", ".join(words[: random_source.randint(0, len(words))])
    scores = [
      {name: score.fmeasure for name, score in each.score(target, prediction).items()} for each in scorers
    ]
    pairs.append([prediction, target, *scores])
  letters = "aeioustylnedg"
  drawn = [
    "".join(random_source.choice(letters) for _ in range(random_source.randint(1, 8)))
    + random_source.choice(ENDS)
    for _ in range(1_000)
  ]
  stemmer = PorterStemmer()
  return {"pairs": pairs, "stems": {word: stemmer.stem(word) for word in [*WORDS, *drawn]}}


def score_classes(random_source: random.Random) -> list[Any]:
  """Returns labels and predictions with scikit-learn's scores, and numbers with scipy's correlations."""
  cases = []
  for case in range(40):
    count, names = random_source.randint(2, 30), [f"c{index}" for index in range(random_source.randint(2, 5))]
    true, predicted = ([random_source.choice(names) for _ in range(count)] for _ in range(2))
    numbers = np.random.default_rng(case).normal(size=(2, count)).round(1)
    numbers[1] += numbers[0]
    scores = {
      "accuracy": metrics.accuracy_score(true, predicted),
      "macro_f1": metrics.f1_score(true, predicted, average="macro", zero_division=0),
      "micro_f1": metrics.f1_score(true, predicted, average="micro"),
      "matthews": metrics.matthews_corrcoef(true, predicted),
    }
    correlations = {"spearman": stats.spearmanr(*numbers)[0], "pearson": stats.pearsonr(*numbers)[0]}
    plain = [{name: float(value) for name, value in each.items()} for each in (scores, correlations)]
    cases.append([true, predicted, numbers.tolist(), *plain])
  return cases


def score_first_squad(prediction: str, answers: list[str]) -> list[float]:
  """Returns exact match and F1 as evaluate-v1.1.py computes them."""
  scores = []
  for answer in answers:
    words, true = squad_metrics.get_tokens(prediction), squad_metrics.get_tokens(answer)
    common = sum((Counter(words) & Counter(true)).values())
    f1 = 2 * common / (len(words) + len(true)) if common else 0.0
    scores.append((float(squad_metrics.compute_exact(answer, prediction)), f1))
  return [max(each) for each in zip(*scores, strict=True)]


def score_answers(random_source: random.Random) -> dict[str, Any]:
  """Returns answers, predictions and no-answer scores with those of SQuAD's scripts."""

  def draw(least: int, most: int) -> str:
    return " ".join(random_source.choice(ANSWERS) for _ in range(random_source.randint(least, most)))

  second = []
  for _ in range(60):
    count = random_source.randint(3, 15)
    answers = [[draw(1, 4) for _ in range(random_source.choice([0, 1, 1, 2]))] for _ in range(count)]
    answers[0], answers[1] = [], [draw(1, 2)]
    predictions = [random_source.choice(["", draw(1, 4), *each]) for each in answers]
    no_answers = [random_source.choice([0.0, 0.5, random_source.random()]) for _ in answers]
    examples = [
      types.SimpleNamespace(qas_id=index, answers=[{"text": text} for text in each])
      for index, each in enumerate(answers)
    ]
    scores = squad_metrics.squad_evaluate(
      examples, dict(enumerate(predictions)), dict(enumerate(no_answers)), 1.0
    )
    second.append([answers, predictions, no_answers, dict(scores)])
  first = []
  for _ in range(120):
    accepted = [draw(1, 3) for _ in range(random_source.randint(1, 3))]
    prediction = draw(0, 3)
    first.append([accepted, prediction, *score_first_squad(prediction, accepted)])
  return {"v2.0": second, "v1.1": first}


def main() -> None:
  """Writes one compressed JSON file for each kind of score into the folder of the command line."""
  warnings.simplefilter("ignore")
  folder = Path(sys.argv[1])
  folder.mkdir(parents=True, exist_ok=True)
  makers = {
    "entities": score_sequences,
    "texts": score_texts,
    "classes": score_classes,
    "answers": score_answers,
  }
  for name, make in makers.items():
    content = json.dumps(make(random.Random(name))).encode()
    (folder / f"{name}.json.xz").write_bytes(lzma.compress(content, preset=9))


if __name__ == "__main__":
  main()
