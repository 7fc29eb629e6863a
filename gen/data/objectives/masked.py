"""Masked language modelling: some tokens are replaced and predicted from both sides (BERT, arXiv:1810.04805; RoBERTa).

Of a row's tokens, 15 % (as in BERT, specials count and padding does not) are chosen among the text tokens; of these
80 % become the mask, 10 % a random text token and 10 % stay. B rows, N raw tokens = T positions.
"""

import numpy as np

from gen.batch import Batch
from gen.data.objectives import counter_rng
from gen.data.objectives.objective import Objective, RowLengths, segment_positions, segment_starts
from gen.data.objectives.specials import Specials
from gen.errors import UserError

_CHOICE, _FATE, _RANDOM = range(3)  # streams of random numbers


def row_lengths(length: int) -> RowLengths:
  """Returns the sizes of a row."""
  return RowLengths(length, 0, length)


class Masked(Objective):
  """Masks single tokens, or whole words if `word_start_v` is given.

  Args:
    specials: the tokenizer's ids.
    length: positions of a row.
    rate: chosen tokens as a fraction of the row's tokens, rounded to the nearest count.
    mask_share: fraction of the chosen that become the mask.
    random_share: fraction of the chosen that become random text.
    copies: 0 draws a new mask in every epoch (RoBERTa); 1 uses one mask (BERT); n cycles through n masks.
    word_start_v: for each id, whether a piece of text begins a word.
  """

  families = ("encoder",)

  def __init__(
    self,
    specials: Specials,
    length: int,
    rate: float = 0.15,  # this and the two shares: arXiv:1810.04805, section 3.1
    mask_share: float = 0.8,
    random_share: float = 0.1,
    copies: int = 0,
    word_start_v: np.ndarray | None = None,
  ):
    super().__init__(specials, row_lengths(length))
    specials.require("masked", "mask")
    if not 0 < rate < 1:
      raise UserError(f"the masked rate {rate} is not between 0 and 1")
    if min(mask_share, random_share) < 0 or mask_share + random_share > 1:
      raise UserError(
        f"the shares of mask {mask_share} and random {random_share} are not fractions that sum to at most 1"
      )
    if word_start_v is not None and len(word_start_v) != specials.vocab:
      raise UserError(
        f"the table of word starts has {len(word_start_v)} ids, the vocabulary {specials.vocab}"
      )
    self.rate, self.mask_share, self.random_share, self.copies = rate, mask_share, random_share, copies
    self.word_start_v = word_start_v

  def corrupt(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> Batch:
    """Chooses tokens, replaces them, and makes the originals the targets."""
    candidates_bn = self.specials.corruptible_v[tokens_bn] & (segments_bn > 0)
    # An exact count and not a draw for each token, as in BERT's own data: every row bears equally much loss.
    counts_b = np.rint(self.rate * (segments_bn > 0).sum(1)).astype(int)
    # At least one, or a short row would have no loss at all.
    counts_b = np.maximum(counts_b, candidates_bn.any(1))
    if self.word_start_v is None:
      chosen_bn = counter_rng.choose_exactly(candidates_bn, counts_b, keys_b, _CHOICE)
    else:
      # A document cut by the row may begin inside a word, whose rest counts as one.
      begins_bn = self.word_start_v[tokens_bn] | segment_starts(segments_bn)
      chosen_bn = choose_whole_words(candidates_bn, begins_bn, counts_b, keys_b)
    inputs_bt = np.where(segments_bn > 0, tokens_bn, self.specials.pad)
    rows, columns = np.nonzero(chosen_bn)
    inputs_bt[rows, columns] = self._replaced(tokens_bn[rows, columns], keys_b[rows], columns)
    return Batch(
      inputs_bt=inputs_bt,
      # All tokens are targets, and the weights pick the chosen ones: shapes then do not depend on how many were chosen.
      targets_bt=np.where(segments_bn > 0, tokens_bn, self.specials.pad),
      weights_bt=chosen_bn.astype(np.float32),
      segments_bt=segments_bn,
      positions_bt=segment_positions(segments_bn),
    )

  def _replaced(self, tokens: np.ndarray, keys: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the replacements of the chosen tokens."""
    fate = counter_rng.random_uniform(keys, _FATE, columns)
    # Text alone: a random special token would be a hint that no text has.
    begin, end = self.specials.text_begin, self.specials.text_end
    random = begin + np.floor(counter_rng.random_uniform(keys, _RANDOM, columns) * (end - begin)).astype(
      np.int32
    )
    # One draw decides between the three: it falls into [0, 0.8), [0.8, 0.9) or [0.9, 1).
    unmasked = np.where(fate < self.mask_share + self.random_share, random, tokens)
    return np.where(fate < self.mask_share, self.specials.mask, unmasked)


def choose_whole_words(
  candidates_bn: np.ndarray, begins_bn: np.ndarray, counts_b: np.ndarray, keys_b: np.ndarray
) -> np.ndarray:
  """Marks whole words in random order, each if it fits in the rest of the row's count (BERT's rule).

  A word begins at a candidate that starts a word or follows a non-candidate, and ends before the next such.
  """
  begins_bn = begins_bn & candidates_bn
  begins_bn[:, 0] |= candidates_bn[:, 0]
  begins_bn[:, 1:] |= candidates_bn[:, 1:] & ~candidates_bn[:, :-1]
  rows_w, columns_w = np.nonzero(begins_bn)
  word_of_token = np.cumsum(begins_bn[candidates_bn]) - 1
  sizes_w = np.bincount(word_of_token, minlength=rows_w.size)
  # Words of each row in random order; lexsort's last key, the row, is the primary one.
  order_w = np.lexsort((counter_rng.random_bits(keys_b[rows_w], _CHOICE, columns_w), rows_w))
  taken_w = np.zeros(rows_w.size, bool)
  left_b = counts_b.copy()
  open_w = order_w[sizes_w[order_w] <= left_b[rows_w[order_w]]]
  # Each round selects the words up to the first that does not fit, and drops those that no longer can.
  while open_w.size:
    rows, sizes = rows_w[open_w], sizes_w[open_w]
    totals_b = np.bincount(rows, sizes, minlength=left_b.size).astype(int)
    sums = np.cumsum(sizes) - (np.cumsum(totals_b) - totals_b)[rows]
    fits = sums <= left_b[rows]
    taken_w[open_w[fits]] = True
    left_b = left_b - np.bincount(rows[fits], sizes[fits], minlength=left_b.size).astype(int)
    open_w = open_w[~fits]
    open_w = open_w[sizes_w[open_w] <= left_b[rows_w[open_w]]]
  chosen_bn = np.zeros(candidates_bn.shape, bool)
  chosen_bn[candidates_bn] = taken_w[word_of_token]
  return chosen_bn
