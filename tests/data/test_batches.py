import dataclasses
import itertools
import math

import numpy as np
import pytest
import scipy.stats

from gen.config import Data
from gen.data import batches
from gen.data.token_stream import TokenStream
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError

DATA = Data(tokenizer="bytes", length=7, batch=3, validation_tokens=10_000)


def stream_of(sizes, seed=0):
  """Documents of so many text tokens, between bos and eos."""
  each, rng = ByteTokenizer(), np.random.default_rng(seed)
  documents = [[each.bos, *rng.integers(4, 260, size), each.eos] for size in sizes]
  starts = np.cumsum([0, *(len(ids) for ids in documents[:-1])])
  return TokenStream(np.concatenate(documents).astype(np.uint16), starts.astype(np.int64), each)


@pytest.fixture(scope="module")
def stream():
  return stream_of([0, 1, 30, 2, 0, 0, 17, 5, 11, 4, 90, 3])


def by_hand(stream, row, length):
  """One causal row, token by token."""
  document_of = [int((stream.starts <= place).sum()) for place in range(len(stream.ids))]
  inputs, targets, weights, segments, positions = [], [], [], [], []
  for place in range(row * length, row * length + length):
    document = document_of[place]
    new = place == row * length or document != document_of[place - 1]
    segments.append(1 if not segments else segments[-1] + new)
    positions.append(0 if new else positions[-1] + 1)
    inputs.append(int(stream.ids[place]))
    weights.append(float(document_of[place + 1] == document))
    targets.append(int(stream.ids[place + 1]) if weights[-1] else None)
  return inputs, targets, weights, segments, positions


def row_of(batch, index):
  arrays = [array[index].tolist() for array in batch[:5]]
  arrays[1] = [target if weight else None for target, weight in zip(arrays[1], arrays[2], strict=True)]
  return tuple(arrays)


@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_rows_are_what_a_loop_over_tokens_makes(stream, length):
  data = dataclasses.replace(DATA, length=length, batch=1)
  found = batches.Batches(stream, data, seed=5)
  rows = [by_hand(stream, row, length) for row in range(found.rows_per_epoch)]
  epoch = [row_of(found.at(step), 0) for step in range(found.rows_per_epoch)]
  assert sorted(map(str, epoch)) == sorted(map(str, rows))
  assert (len(stream.ids) - 1) // length == found.rows_per_epoch


def test_each_target_of_the_full_rows_is_predicted_once_an_epoch(stream):
  data = dataclasses.replace(DATA, batch=1)
  found = batches.Batches(stream, data, seed=1)
  steps = [found.at(step) for step in range(found.rows_per_epoch)]
  read = stream.ids[1 : found.rows_per_epoch * 7 + 1]
  bearing = np.concatenate([batch.targets_bt[batch.weights_bt > 0] for batch in steps])
  assert sorted(bearing) == sorted(read[read != stream.tokenizer.bos])
  assert all(batch.weights_bt.shape == (1, 7) and batch.segments_bt.min() == 1 for batch in steps)


def same(one, other):
  return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True) if a is not None)


def test_order_is_a_pure_function_of_seed_and_step(stream):
  one, other = (batches.Batches(stream, DATA, seed=11) for _ in range(2))
  steps = [0, 3, 10**9, 1, 2**40]
  expected = [one.at(step) for step in steps]
  for step in range(20):
    other.at(step)
  for step, batch in reversed(list(zip(steps, expected, strict=True))):
    assert same(other.at(step), batch)
  assert not same(batches.Batches(stream, DATA, seed=12).at(0), expected[0])


def test_a_stack_is_the_steps_one_by_one(stream):
  found = batches.Batches(stream, DATA, seed=2)
  stack = found.stack(6, 5)
  assert stack.inputs_bt.shape == (5, 3, 7)
  for index in range(5):
    assert same([None if array is None else array[index] for array in stack], found.at(6 + index))


def test_epochs_cover_every_row_once_each_in_its_own_order(stream):
  found = batches.Batches(stream, dataclasses.replace(DATA, batch=2), seed=3)
  assert found.rows_per_epoch % 2 == 0
  steps = found.rows_per_epoch // 2
  epochs = [
    [row.tobytes() for step in range(steps) for row in found.at(epoch * steps + step).inputs_bt]
    for epoch in range(3)
  ]
  assert len(set(epochs[0])) == found.rows_per_epoch
  assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
  assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
  assert found.epoch(steps) == 1.0


@pytest.mark.parametrize(("rows", "batch"), [(5, 3), (65_536, 7), (65_537, 7), (262_145, 64)])
def test_an_epoch_of_any_size_visits_each_row_once(rows, batch):
  order = batches.ShuffledOrder(rows, batch, seed=6)
  steps = -(-2 * rows // batch)
  rows_n, epochs_n, _ = order.rows(0, steps)
  for epoch in range(2):
    assert np.array_equal(np.sort(rows_n[epochs_n == epoch]), np.arange(rows))


def test_all_orders_of_an_epoch_are_as_likely():
  order = batches.ShuffledOrder(4, 4, seed=8)
  rows_n, _, _ = order.rows(0, 24 * 400)
  _, counts = np.unique(rows_n.reshape(-1, 4), axis=0, return_counts=True)
  assert len(counts) == 24
  assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_seeds_one_apart_do_not_share_their_epochs(stream):
  data = dataclasses.replace(DATA, batch=1)
  first, second = (batches.Batches(stream, data, seed=seed) for seed in (0, 1))
  rows = first.rows_per_epoch
  later = [first.at(rows + step).inputs_bt.tobytes() for step in range(rows)]
  assert later != [second.at(step).inputs_bt.tobytes() for step in range(rows)]


@pytest.mark.parametrize("streams", [False, True])
def test_any_seed_will_do(stream, streams):
  data = dataclasses.replace(DATA, stream=streams)
  for seed in (-1, 0, 2**31, 2**64 + 1):
    assert batches.Batches(stream, data, seed=seed).at(0).inputs_bt.shape == (3, 7)


def test_batches_hold_the_types_that_a_step_is_compiled_for(stream):
  batch = batches.Batches(stream, DATA, seed=0).at(0)
  types = [None if array is None else array.dtype for array in batch]
  wanted = [np.int32, np.int32, np.float32, np.int32, np.int32]
  assert types == wanted + [None] * (len(batch) - len(wanted))


def test_another_objective_draws_anew_each_epoch_and_never_across_steps(stream):
  data = dataclasses.replace(DATA, length=20, batch=2, objective="masked")
  found = batches.Batches(stream, data, seed=4)
  rows = {}
  for step in range(3 * found.rows_per_epoch // 2):
    batch = found.at(step)
    assert same(batch, found.at(step))
    for inputs, weights in zip(batch.inputs_bt, batch.weights_bt, strict=True):
      rows.setdefault(weights.tobytes(), []).append(inputs)
  assert len(rows) > found.rows_per_epoch


def test_objectives_that_need_tables_are_given_them(stream):
  for name in ("masked_whole_word", "sentence_permutation", "span_corruption"):
    data = dataclasses.replace(DATA, length=24, batch=2, objective=name)
    assert batches.Batches(stream, data, seed=0).at(0).weights_bt.sum() > 0


def test_validation_judges_every_target_and_counts_its_bytes(stream):
  found = batches.validation_batches(stream, DATA)
  text = stream.ids[stream.ids != stream.tokenizer.bos]
  bearing = np.concatenate([batch.targets_bt[batch.weights_bt > 0] for batch in found.batches])
  assert sorted(bearing) == sorted(text)  # the partial row at the end included
  assert found.tokens == len(text)
  assert found.bytes == (text >= 4).sum()
  assert all(batch.inputs_bt.shape == (3, 7) for batch in found.batches)


def test_validation_pads_only_its_end_and_padding_bears_no_loss(stream):
  last = batches.validation_batches(stream, DATA).batches[-1]
  padding = last.segments_bt == 0
  assert padding.any()
  assert not last.weights_bt[padding].any()
  assert not last.inputs_bt[padding].any()
  assert not last.positions_bt[padding].any()
  assert not np.diff(padding.ravel().astype(int)).min() < 0


@pytest.mark.parametrize("wanted", [1, 7, 8, 50])
def test_validation_reads_as_much_as_is_asked(stream, wanted):
  found = batches.validation_batches(stream, dataclasses.replace(DATA, validation_tokens=wanted))
  rows = sum(int((batch.segments_bt[:, 0] > 0).sum()) for batch in found.batches)
  assert rows == math.ceil(wanted / 7)
  assert len(found.batches) == math.ceil(rows / 3)


def test_a_validation_side_shorter_than_a_row_still_judges():
  found = batches.validation_batches(stream_of([3]), DATA)
  assert (found.tokens, found.bytes, len(found.batches)) == (4, 3, 1)


def test_text_for_less_than_a_batch_is_the_users_to_mend():
  with pytest.raises(UserError, match=r"21 tokens, which make 2 rows of length 7: fewer than one batch of 3"):
    batches.Batches(stream_of([19]), DATA, seed=0)
  assert batches.Batches(stream_of([20]), DATA, seed=0).rows_per_epoch == 3
  with pytest.raises(UserError, match="0 rows"):
    batches.Batches(stream_of([2]), DATA, seed=0)


def test_no_validation_tokens_is_the_users_to_mend(stream):
  with pytest.raises(UserError, match="too few for one row"):
    batches.validation_batches(stream, dataclasses.replace(DATA, validation_tokens=0))


def test_an_unknown_objective_is_the_users_to_mend(stream):
  with pytest.raises(UserError, match="causal"):
    batches.Batches(stream, dataclasses.replace(DATA, objective="causl"), seed=0)


STREAMED = dataclasses.replace(DATA, stream=True)


def test_streamed_rows_go_on_where_the_row_before_in_their_lane_ended(stream):
  found = batches.Batches(stream, STREAMED, seed=4)
  per_epoch = found.rows_per_epoch // 3
  assert per_epoch >= 3
  ids = stream.ids.astype(int).tolist()
  for epoch in range(3):
    rows = [found.at(epoch * per_epoch + place) for place in range(per_epoch)]
    assert (rows[0].segments_bt[:, 0] == 2).all()  # nothing is carried over from the epoch before
    for lane in range(3):
      text = np.concatenate([row.inputs_bt[lane] for row in rows]).tolist()
      length = found.rows_per_epoch * 7
      around = ids[:length] * 2  # a lane may run over the stream's end
      assert any(around[i : i + len(text)] == text for i in range(0, length, 7))
      for row in rows[1:]:
        is_begin = int(row.inputs_bt[lane, 0]) == stream.tokenizer.bos
        assert row.segments_bt[lane, 0] == 1 + is_begin
      for before, after in itertools.pairwise(rows):
        if before.weights_bt[lane, -1]:
          assert before.targets_bt[lane, -1] == after.inputs_bt[lane, 0]


def test_an_epoch_of_streamed_rows_reads_no_row_twice_and_another_epoch_starts_elsewhere(stream):
  found = batches.Batches(stream, dataclasses.replace(STREAMED, length=3), seed=2)
  lanes = batches.ContiguousOrder(found.rows_per_epoch, 3, 2)
  epochs = [lanes.rows(epoch * lanes.steps, lanes.steps)[0] for epoch in range(4)]
  for rows in epochs:
    assert len(set(rows.tolist())) == len(rows) == lanes.steps * 3
    in_lanes = rows.reshape(lanes.steps, 3)
    assert ((np.diff(in_lanes, axis=0) % found.rows_per_epoch) == 1).all()
  assert len({int(rows[0]) for rows in epochs}) > 1


def test_streamed_order_is_a_pure_function_of_seed_and_step(stream):
  one, other = (batches.Batches(stream, STREAMED, seed=9) for _ in range(2))
  together = one.stack(2, 11)
  for step in (12, 5, 2):
    alone = other.at(step)
    same(alone, type(alone)(*(None if part is None else part[step - 2] for part in together)))
  far = other.at(10**12)
  assert far.inputs_bt.shape == (3, 7)
  assert any((batches.Batches(stream, STREAMED, seed=seed).at(0).inputs_bt != one.at(0).inputs_bt).any()
             for seed in range(1, 5))  # fmt: skip


def test_streamed_validation_judges_the_same_targets_in_lanes(stream):
  plain, streamed = (batches.validation_batches(stream, data) for data in (DATA, STREAMED))
  assert (plain.tokens, plain.bytes) == (streamed.tokens, streamed.bytes)
  rows = [
    sorted(row.tolist() for batch in found.batches for row in batch.inputs_bt) for found in (plain, streamed)
  ]
  assert rows[0] == rows[1]
  for before, after in itertools.pairwise(streamed.batches):
    for lane in range(3):
      if before.weights_bt[lane, -1]:
        assert before.targets_bt[lane, -1] == after.inputs_bt[lane, 0]
        assert after.segments_bt[lane, 0] == 1
