"""What a stage answers about a document: the document to keep, with or without a score, or a reason to drop it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gen.data.document import Document


class Kept(NamedTuple):
  """A document that stays.

  Attributes:
    document: as later stages see it.
    score: that the stage computed, for a histogram; None without one.
    counts: of what the stage changed, by name.
  """

  document: Document
  score: float | None = None
  counts: Mapping[str, int] = {}


class Drop(NamedTuple):
  """A document that goes.

  Attributes:
    reason: the rule in a few words, the same for all documents that it drops.
    detail: the document's own value.
    score: as of `Kept`.
  """

  reason: str
  detail: str = ""
  score: float | None = None


Verdict = Document | Kept | Drop
Apply = Callable[[Document, Any], Verdict]
