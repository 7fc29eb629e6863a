"""Word n-grams that documents share with evaluation text (GPT-3, Brown et al. 2020, arXiv:2005.14165, appendix C).

As there, an evaluation text of fewer than n words counts as one n-gram, down to 8 words; shorter ones are ignored.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gen.config.curation import Contamination
from gen.data.curation.rules import words
from gen.data.curation.rules.verdicts import Drop, Verdict
from gen.data.document import Document
from gen.errors import UserError

MAX_NGRAMS = 50_000_000  # of evaluation text: 8 bytes each, so 400 MB in each worker


class EvaluationNgrams(NamedTuple):
  """The n-grams of evaluation text.

  Attributes:
    rules: of the config.
    grams: (n, sorted hashes of n-grams) for each length.
    ignored: evaluation texts that are too short.
  """

  rules: Contamination
  grams: tuple[tuple[int, np.ndarray], ...]
  ignored: int


def check_overlap(document: Document, evaluation: EvaluationNgrams) -> Verdict:
  """Keeps a document that shares no n-grams with evaluation text, or few enough."""
  hashes = words.word_hashes(document.text)
  shared, example = 0, ""
  for n, known in evaluation.grams:
    grams = words.ngram_hashes(hashes, n)
    if not len(grams):
      continue
    at = np.minimum(np.searchsorted(known, grams), len(known) - 1)
    matches = np.flatnonzero(known[at] == grams)
    if len(matches):
      tokens = () if example else words.split_words(document.text)
      example = example or " ".join(tokens[matches[0] : matches[0] + n])
    shared += len(matches)
  if shared > evaluation.rules.max_shared:
    return Drop("shares n-grams with evaluation text", f"{shared:,}, first {example[:100]!r}")
  return document


def collect_ngrams(documents: Iterable[Document], rules: Contamination) -> EvaluationNgrams:
  """Returns the n-grams of evaluation text.

  Raises:
    UserError: if there are none, or too many for memory.
  """
  found: dict[int, list[np.ndarray]] = {}
  ignored = count = 0
  for document in documents:
    hashes = words.word_hashes(document.text)
    n = min(rules.ngram, len(hashes))
    if n < rules.min_ngram:
      ignored += 1
      continue
    grams = np.unique(words.ngram_hashes(hashes, n))
    found.setdefault(n, []).append(grams)
    count += len(grams)
    if count > MAX_NGRAMS:
      raise UserError(
        f"contamination.evaluation has more than {MAX_NGRAMS:,} n-grams; name the evaluation sets alone"
      )
  if not found:
    raise UserError(
      f"contamination.evaluation: all {ignored:,} texts have fewer than {rules.min_ngram} words;"
      " lower contamination.min_ngram, or name a field with longer texts"
    )
  merged = tuple((n, np.unique(np.concatenate(parts))) for n, parts in sorted(found.items()))
  return EvaluationNgrams(rules, merged, ignored)
