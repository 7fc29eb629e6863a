"""Sentences with mean ratings from -4 to 4 (Hutto and Gilbert 2014), from an archive within a source archive.

A sentence is positive or negative where the mean is at least half a point from 0; the others are left out.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from gen.errors import UserError

_INNER = "/additional_resources/hutto_ICWSM_2014.tar.gz"
_MIN_RATING = 0.5  # on a scale from -4 to 4; sentences nearer to 0 are neither positive nor negative


def read_sentiment(archive: Path, kind: str) -> Iterator[dict[str, str]]:
  """Yields sentences with positive or negative.

  Args:
    archive: the source archive.
    kind: the beginning of the name of the file with the ratings, such as movieReviewSnippets.
  """
  text = _read_member(_read_member(archive.read_bytes(), _INNER), f"/{kind}_GroundTruth.txt").decode(
    "latin-1"
  )
  for line in text.splitlines():
    identifier, rating, sentence = line.split("\t", 2)
    if abs(float(rating)) >= _MIN_RATING and sentence.strip():
      row = {"text": sentence.strip(), "label": "positive" if float(rating) > 0 else "negative"}
      document, underscore, _ = identifier.partition("_")  # of sentences of one review
      yield row | ({"document": f"{kind} {document}"} if underscore else {})


def _read_member(content: bytes, ending: str) -> bytes:
  with tarfile.open(fileobj=io.BytesIO(content)) as archive:
    for member in archive:
      opened = archive.extractfile(member) if member.name.endswith(ending) else None
      if opened is not None:
        return opened.read()
  raise UserError(f"the archive has no member {ending}")
