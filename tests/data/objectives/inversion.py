"""The inverse of span corruption: the original text of a batch, from its source and its target."""

import numpy as np

from gen.batch import Batch
from gen.data.objectives import Specials


def invert_corruption(
  batch: Batch, specials: Specials, modes: tuple[int, ...] = ()
) -> list[list[np.ndarray]]:
  """Returns the original tokens of each document of each row.

  The eos that was added to an incomplete last document stays; mode tokens are dropped.
  """
  assert batch.source_bs is not None and batch.source_segments_bs is not None
  source_bs, target_bt = np.atleast_2d(batch.source_bs), np.atleast_2d(batch.targets_bt)
  source_segments_bs, segments_bt = np.atleast_2d(batch.source_segments_bs), np.atleast_2d(batch.segments_bt)
  return [
    [
      _joined(source_s[source_segments_s == document], target_t[segments_t == document], specials, modes)
      for document in np.unique(source_segments_s[source_segments_s > 0])
    ]
    for source_s, source_segments_s, target_t, segments_t in zip(
      source_bs, source_segments_bs, target_bt, segments_bt, strict=True
    )
  ]


def _joined(source: np.ndarray, target: np.ndarray, specials: Specials, modes: tuple[int, ...]) -> np.ndarray:
  """Returns one document's source with the target's spans inserted again."""
  if source.size and source[0] in modes:
    source = source[1:]
  sentinels = np.array(specials.sentinels)
  bounds = np.flatnonzero(np.isin(target, sentinels))
  ends = np.append(bounds[1:], target.size - 1)  # the last id is eos
  spans = [target[begin + 1 : end] for begin, end in zip(bounds, ends, strict=True)] if bounds.size else []
  places = np.flatnonzero(np.isin(source, sentinels))
  texts = np.split(np.delete(source, places), places - np.arange(places.size))
  pieces = [texts[0]]
  for span, text in zip(spans, texts[1:], strict=True):
    pieces += [span, text]
  return np.concatenate(pieces)
