"""Batches by length: every row once an epoch, few shapes, the least padding, and a pure function of (seed, step)."""

import itertools

import numpy as np
import pytest

from gen.finetuning import length_batches


def lengths(count, seed=0):
  return np.random.default_rng(seed).geometric(0.03, count).clip(1, 190).tolist()


@pytest.mark.parametrize("max_shapes", [1, 2, 3])
def test_the_chosen_lengths_have_the_least_padding_of_all_choices(max_shapes):
  rows = lengths(60)
  sizes = sorted({length_batches.round_up(length) for length in rows})

  def padded(chosen):
    return sum(min(size for size in chosen if size >= length) for length in rows)

  best = min(padded((*inner, sizes[-1])) for inner in itertools.combinations(sizes[:-1], max_shapes - 1))
  chosen = length_batches.choose_lengths(rows, max_shapes)
  assert len(chosen) == max_shapes and padded(chosen) == best


def test_rows_of_one_length_need_one_shape():
  assert length_batches.choose_lengths([17] * 9, 5) == (24,)


@pytest.mark.parametrize(("count", "batch"), [(53, 7), (7, 7), (3, 5)])
def test_every_row_is_read_once_an_epoch_in_a_length_that_holds_it(count, batch):
  rows = lengths(count)
  order = length_batches.LengthBatches(rows, batch, seed=2, max_shapes=3)
  for epoch in range(2):
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    read = [order.at(step) for step in steps]
    assert sorted(np.concatenate([numbers for numbers, _ in read]).tolist()) == list(range(count))
    assert all(rows[number] <= order.lengths[bucket] for numbers, bucket in read for number in numbers)
    assert all(len(numbers) <= batch for numbers, _ in read)


def test_a_batch_depends_on_the_seed_and_the_step_alone():
  one = length_batches.LengthBatches(lengths(40), 6, seed=1, max_shapes=3)
  other = length_batches.LengthBatches(lengths(40), 6, seed=1, max_shapes=3)
  for step in (30, 2, 17):
    assert (one.at(step)[0] == other.at(step)[0]).all()
  third = length_batches.LengthBatches(lengths(40), 6, seed=2, max_shapes=3)
  assert any(list(one.at(step)[0]) != list(third.at(step)[0]) for step in range(5))
