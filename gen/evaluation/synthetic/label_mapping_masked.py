"""The sequences of `label_mapping_task` for families that fill gaps: some labels are masked.

    7cB 3aD 0c_ 5d_

    encoder            reads it with masks, and classifies each in its place (cloze, as in arXiv:1810.04805)
    encoder-decoder    reads it with sentinels, and its decoder writes each with its label (arXiv:1910.10683):
                       <0>B <1>A </s>

The last label is always masked, like that of a question. The number of pairs and the number of other masked labels
are random for each sequence. A gap has no letter to compare, so the model must first learn to attend to the previous
position. That is easier if all sequences share one mapping, so training begins with such sequences.
B sequences, N pairs, S positions of a sequence, T of what is written.
"""

import dataclasses

import numpy as np

from gen.batch import Batch
from gen.data.objectives import objective
from gen.evaluation.synthetic import synthetic_training
from gen.evaluation.synthetic.label_mapping_task import LabelMappingTask
from gen.evaluation.synthetic.synthetic_training import BYTES

_HIDDEN = 3  # stream of random numbers, after those of label_mapping_task


@dataclasses.dataclass(frozen=True)
class HiddenLabels:
  """The sequences of a task with masked labels.

  Attributes:
    task: of the sequences.
    family: encoder or encoder_decoder.
    plain: steps over which the fraction of sequences with one common mapping falls from 1 to 0.
  """

  task: LabelMappingTask
  family: str
  plain: int = 800

  @property
  def families(self) -> tuple[str, ...]:
    """The family that reads these rows."""
    return (self.family,)

  @property
  def length(self) -> int:
    """Positions S of a sequence with a mark before it."""
    return 4 * self.task.pairs

  def batch(self, step: int, rows: int, seed: int = 0) -> Batch:
    """Returns the sequences of a training step, a pure function of seed and step; only masked labels have loss."""
    plain = max(0.0, 1 - step / self.plain) if self.plain else 0.0
    whole_bs = self.task.sequences(step, rows, seed, plain)
    pairs_b, hidden_bn = self._hidden(step, rows, seed)
    filled_bs = np.arange(self.length) < 4 * pairs_b[:, None]
    whole_bs = np.where(filled_bs, whole_bs, BYTES.pad).astype(np.int32)
    hidden_bs = np.zeros(whole_bs.shape, bool)
    hidden_bs[:, 3::4] = hidden_bn
    segments_bs = filled_bs.astype(np.int32)
    if self.family == "encoder":
      return Batch(
        np.where(hidden_bs, BYTES.mask, whole_bs), whole_bs, hidden_bs.astype(np.float32), segments_bs,
        objective.segment_positions(segments_bs),
      )  # fmt: skip
    sentinel_bs = BYTES.sentinel(0) + np.cumsum(hidden_bs, axis=1) - 1
    source_bs = np.where(hidden_bs, sentinel_bs, whole_bs).astype(np.int32)
    return self._told(
      source_bs, segments_bs, [row[hides] for row, hides in zip(whole_bs, hidden_bs, strict=True)]
    )

  def _hidden(self, step: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many pairs each sequence has, and which of their labels are masked: the last and some others."""
    draw = np.random.default_rng((seed, _HIDDEN, step))
    pairs_b = draw.integers(1, self.task.pairs + 1, size=rows)
    more_b = draw.integers((pairs_b + 1) // 2)
    place_n = np.arange(self.task.pairs)
    last_bn = place_n == pairs_b[:, None] - 1
    chance_bn = np.where(place_n < pairs_b[:, None] - 1, draw.random((rows, self.task.pairs)), 2.0)
    rank_bn = chance_bn.argsort(axis=1).argsort(axis=1)
    return pairs_b, last_bn | (rank_bn < more_b[:, None])

  def _told(self, source_bs: np.ndarray, segments_bs: np.ndarray, labels: list[np.ndarray]) -> Batch:
    """Returns the batch whose targets are each label after its sentinel, with loss on labels only."""
    targets_bt, weights_bt = (
      np.zeros((len(labels), 2 * self.task.pairs), kind) for kind in (np.int32, np.float32)
    )
    for b, each in enumerate(labels):
      targets_bt[b, 0 : 2 * len(each) : 2] = BYTES.sentinel(0) + np.arange(len(each))
      targets_bt[b, 1 : 2 * len(each) : 2] = each
      weights_bt[b, 1 : 2 * len(each) : 2] = 1
    segments_bt = (targets_bt != BYTES.pad).astype(np.int32)
    batch = objective.translation_batch(source_bs, segments_bs, targets_bt, segments_bt, BYTES.pad, BYTES.pad)
    return batch._replace(weights_bt=weights_bt)


def rows_for(family: str, task: LabelMappingTask) -> synthetic_training.SyntheticTask:
  """Returns a task's rows in a family's input format."""
  return task if family in task.families else HiddenLabels(task, family)
