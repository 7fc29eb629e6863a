"""Batches of rows of similar length, in a bounded number of shapes; a pure function of (seed, step).

Padding every row to the longest computes mostly padding. Here each row is padded to the shortest of a few lengths that
holds it. The lengths are those that minimize the padded tokens, found by dynamic programming. Each compiled shape costs
seconds, so a further length is used only where it saves enough.
"""

import functools
from collections.abc import Sequence

import numpy as np

# Lengths are rounded up to it; chosen: as the padding of transformers, by which GPUs use their matrix units.
MULTIPLE = 8
# Share of the padded tokens that one more shape must save; chosen: a compilation costs about as much as such a saving.
MIN_SAVING = 0.05


def round_up(tokens: int) -> int:
  """Returns a number of tokens rounded up to a multiple of 8, at least 8.

  >>> round_up(0), round_up(8), round_up(9)
  (8, 8, 16)
  """
  return max(1, -(-tokens // MULTIPLE)) * MULTIPLE


def choose_lengths(lengths: Sequence[int], max_shapes: int) -> tuple[int, ...]:
  """Returns at most `max_shapes` padded lengths, ascending, that hold all rows with the fewest padded tokens.

  >>> choose_lengths([3, 5, 7, 30, 31], 2), choose_lengths([3, 5, 7, 30, 31], 1)
  ((8, 32), (32,))
  """
  sizes, counts = np.unique([round_up(length) for length in lengths], return_counts=True)
  below = np.concatenate([[0], np.cumsum(counts)])
  number = len(sizes)
  # cost[k][j]: padded tokens of the shortest j sizes in k shapes; cut[k][j]: where the last shape begins.
  cost = np.full((max_shapes + 1, number + 1), np.inf)
  cut = np.zeros((max_shapes + 1, number + 1), int)
  cost[0, 0] = 0
  for k in range(1, max_shapes + 1):
    for j in range(1, number + 1):
      candidates = cost[k - 1, :j] + (below[j] - below[:j]) * sizes[j - 1]
      cut[k, j] = int(candidates.argmin())
      cost[k, j] = candidates[cut[k, j]]
  shapes = 1
  while (
    shapes < min(max_shapes, number) and cost[shapes + 1, number] <= (1 - MIN_SAVING) * cost[shapes, number]
  ):
    shapes += 1
  chosen, end = [], number
  for k in range(shapes, 0, -1):
    chosen.append(int(sizes[end - 1]))
    end = int(cut[k, end])
  return tuple(reversed(chosen))


class LengthBatches:
  """The order in which rows are read: `at(step)` gives the rows of a batch and the index of its padded length.

  In each epoch every row is read once. Rows of one padded length form batches; what is left over of each length joins
  the next longer ones. The last batch of an epoch may have fewer rows.

  Attributes:
    lengths: the padded lengths, ascending.
    steps_per_epoch: batches of an epoch.
  """

  def __init__(self, lengths: Sequence[int], batch: int, seed: int, max_shapes: int) -> None:
    """Chooses the padded lengths.

    Args:
      lengths: tokens of each row.
      batch: rows of a batch.
      seed: of the orders.
      max_shapes: most padded lengths; 1 pads every row to the longest.
    """
    self.lengths = choose_lengths(lengths, max_shapes)
    self._bucket_n = np.searchsorted(self.lengths, np.asarray(lengths))
    self._batch, self._seed = batch, seed
    sizes = np.bincount(self._bucket_n, minlength=len(self.lengths))
    left = int((sizes % batch).sum())
    self.steps_per_epoch = int((sizes // batch).sum()) + -(-left // batch)
    # 2: `padded_tokens` asks for epoch 0 while another is read.
    self._epoch = functools.lru_cache(maxsize=2)(self._drawn)

  @property
  def padded_tokens(self) -> int:
    """Tokens of an epoch with padding, but for rows that fill up a batch."""
    return sum(len(rows) * self.lengths[bucket] for rows, bucket in self._epoch(0))

  def at(self, step: int) -> tuple[np.ndarray, int]:
    """Returns the numbers of the rows of a step's batch, and the index of its padded length."""
    epoch, place = divmod(step, self.steps_per_epoch)
    return self._epoch(epoch)[place]

  def _drawn(self, epoch: int) -> list[tuple[np.ndarray, int]]:
    random = np.random.default_rng((self._seed, epoch))
    order = random.permutation(len(self._bucket_n))
    batches, left = [], []
    for bucket in range(len(self.lengths)):
      rows = order[self._bucket_n[order] == bucket]
      full = len(rows) // self._batch * self._batch
      batches += [(part, bucket) for part in rows[:full].reshape(-1, self._batch)]
      left.append(rows[full:])
    # From short to long, so that a batch of rests is padded little.
    rest = np.concatenate(left)
    for begin in range(0, len(rest), self._batch):
      part = rest[begin : begin + self._batch]
      batches.append((part, int(self._bucket_n[part].max())))
    # Shuffled once more: in the order of buckets an epoch would go from short rows to long ones.
    return [batches[i] for i in random.permutation(len(batches))]
