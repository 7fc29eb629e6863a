"""Validation documents of a mixture's corpora that stand in the training text of another of them.

Within a corpus no two documents are equal. Between corpora they can be, and then a loss is of text that was trained on.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from gen.config import Data
from gen.data import cache, corpus
from gen.data.corpus import Corpus

FORMAT = 1  # of the cached counts; raise it when the rule changes


def report_overlap(data: Data, parts: Mapping[str, Corpus], report: Callable[[str], None]) -> None:
  """Reports how many validation documents of each corpus are training documents of another, where there are any.

  Args:
    data: only its cache is used, where the counts are kept.
    parts: the corpora of a mixture, by name.
    report: called with one line for each pair of corpora that overlap.
  """
  names = list(parts)

  def build(_: Path) -> dict[str, object]:
    return {"shared": _count_shared(list(parts.values()))}

  key = cache.cache_key(FORMAT, [part.sha256 for part in parts.values()])
  shared = cache.find_or_build(cache.cache_folder(data), f"overlap-{key}", build).meta["shared"]
  assert isinstance(shared, list)
  for validated, trained, count in shared:
    total = len(parts[names[validated]].validation)
    report(
      f"{count:,} of the {total:,} validation documents of {names[validated]} are in the training text of"
      f" {names[trained]}; if it has weight, the loss on {names[validated]} is partly of text that was trained on"
    )


def _count_shared(corpora: list[Corpus]) -> list[list[int]]:
  """Returns [corpus of validation, corpus of training, documents] of each pair that shares documents."""
  validation = [set(map(corpus.digest_text, part.validation)) for part in corpora]
  counts = {}
  for trained, part in enumerate(corpora):
    digests = set(map(corpus.digest_text, part.train))
    for validated, held in enumerate(validation):
      if validated != trained and (count := len(held & digests)):
        counts[validated, trained] = count
  return [[validated, trained, count] for (validated, trained), count in sorted(counts.items())]
