"""Sentence permutation: predicts the original order of shuffled sentences (BART, arXiv:1910.13461).

B rows, N raw tokens = S source positions = T target positions.
"""

import numpy as np

from gen.batch import Batch
from gen.data.objectives import counter_rng, spans
from gen.data.objectives.objective import Objective, RowLengths, translation_batch
from gen.data.objectives.specials import Specials
from gen.errors import UserError

_ORDER = 20  # stream of random numbers


def row_lengths(length: int) -> RowLengths:
  """Returns the sizes of a row."""
  return RowLengths(length, length, length)


class SentencePermutation(Objective):
  """Shuffles sentences inside their document; bos, eos and other special tokens stay in place.

  Args:
    specials: the tokenizer's ids.
    length: positions of a row.
    sentence_end_v: for each id, whether a piece of text ends a sentence.
    word_start_v: for each id, whether it begins a word; if set, sentences end only before a word (not in "3.14").
    start: first decoder input of each document; default eos, as in BART.
  """

  families = ("encoder_decoder",)

  def __init__(
    self,
    specials: Specials,
    length: int,
    sentence_end_v: np.ndarray,
    word_start_v: np.ndarray | None = None,
    start: int | None = None,
  ):
    super().__init__(specials, row_lengths(length))
    specials.require("sentence_permutation", "eos")
    for name, table_v in (("sentence ends", sentence_end_v), ("word starts", word_start_v)):
      if table_v is not None and len(table_v) != specials.vocab:
        raise UserError(f"the table of {name} has {len(table_v)} ids, the vocabulary {specials.vocab}")
    self.sentence_end_v, self.word_start_v = sentence_end_v, word_start_v
    self.start = specials.eos if start is None else start

  def corrupt(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> Batch:
    """Shuffles the source; the target is the text."""
    source_bs = self.permuted(tokens_bn, segments_bn, keys_b)
    targets_bt = np.where(segments_bn > 0, tokens_bn, self.specials.pad)
    return translation_batch(source_bs, segments_bn, targets_bt, segments_bn, self.start, self.specials.pad)

  def permuted(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> np.ndarray:
    """Returns rows whose sentences are shuffled inside their runs of text."""
    runs = spans.find_token_runs(tokens_bn, segments_bn, self.specials.corruptible_v)
    ends_bn = self.sentence_end_v[tokens_bn]
    begins_bn = runs.begins_bn.copy()
    begins_bn[:, 1:] |= ends_bn[:, :-1] & ~ends_bn[:, 1:] & self._may_begin(tokens_bn[:, 1:])
    # A special token is a block of its own, so it stays in its place.
    begins_bn |= ~runs.open_bn
    columns_n = np.arange(tokens_bn.shape[1])
    first_bn = np.maximum.accumulate(np.where(begins_bn, columns_n, 0), axis=1)
    # Sorted by run, then by the sentence's random number, then by position (the sort is stable).
    # 40 bits for each sentence, which leaves 24 for the number of its run: both fit into one 64-bit key.
    random_bn = counter_rng.random_bits(keys_b[:, None], _ORDER, first_bn) >> np.uint64(24)
    block_bn = np.cumsum(runs.begins_bn | ~runs.open_bn, axis=1).astype(np.uint64)
    order_bn = np.argsort((block_bn << np.uint64(40)) | random_bn, axis=1, kind="stable")
    source_bs = np.take_along_axis(tokens_bn, order_bn, axis=1)
    return np.where(segments_bn > 0, source_bs, self.specials.pad)

  def _may_begin(self, tokens_bn: np.ndarray) -> np.ndarray | bool:
    return True if self.word_start_v is None else self.word_start_v[tokens_bn]
