"""Masks of dropout have their probability exactly in the mean, and independent rows."""

import jax
import numpy as np
import pytest

from gen.kernels import dropout


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.997, 0.013])
def test_each_element_stays_with_the_probability_that_is_asked(keep):
  mask = np.asarray(dropout.draw_mask(jax.random.key(3), keep, (600, 50, 7)))
  assert mask.shape == (600, 50, 7) and mask.dtype == bool
  # Six standard deviations, by column, by row of the first axis, and of all; a rounded byte would be 1/512 off.
  spread = (keep * (1 - keep)) ** 0.5
  for count, means in ((30_000, mask.mean((0, 1))), (210_000, mask.mean())):
    assert np.abs(means - keep).max() < 6 * spread / count**0.5


def test_elements_of_a_row_and_of_different_rows_are_uncorrelated():
  mask = np.asarray(dropout.draw_mask(jax.random.key(5), 0.6, (20_000, 9))).astype(float)
  beside = np.corrcoef(mask.T) - np.eye(9)
  below = [np.corrcoef(mask[:-1, column], mask[1:, column])[0, 1] for column in range(9)]
  assert max(np.abs(beside).max(), np.abs(below).max()) < 6 / 20_000**0.5


def test_other_keys_draw_other_masks_and_a_single_axis_is_enough():
  one, again, other = (np.asarray(dropout.draw_mask(jax.random.key(seed), 0.5, (201,))) for seed in (1, 1, 2))
  assert (one == again).all() and 40 < (one != other).sum() < 160
