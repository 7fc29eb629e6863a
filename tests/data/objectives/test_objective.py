"""What holds for every objective."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.batch import Batch
from gen.data.objectives import OBJECTIVES, make_objective, raw_row_length, required_tables, row_shapes
from gen.errors import UserError
from tests.data.objectives import rows

TABLES = {"word_start_v": rows.WORD_START_V, "sentence_end_v": rows.SENTENCE_END_V}
VARIANTS = [(name, {}) for name in OBJECTIVES] + [
  ("prefix", {"family": "encoder_decoder"}),
  ("masked", {"copies": 4, "rate": 0.4}),
  ("span_corruption", {"rate": 0.5, "mean_span": 1.0, "start": 3}),
  ("infilling", {"sentence_end_v": rows.SENTENCE_END_V, "rate": 0.8, "mean_span": 1.0}),
]
every = pytest.mark.parametrize(("name", "parameters"), VARIANTS)


def made(name, parameters, length=64):
  return make_objective(
    name, rows.SPECIALS, length, **({key: TABLES[key] for key in required_tables(name)} | parameters)
  )


def same(a: Batch, b: Batch) -> bool:
  return all((x is None and y is None) or np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def check_form(batch: Batch, objective) -> None:
  """Asserts what a model relies on."""
  sides = [(batch.inputs_bt, batch.segments_bt, batch.positions_bt, objective.lengths.target)]
  if objective.lengths.source:
    sides.append(
      (batch.source_bs, batch.source_segments_bs, batch.source_positions_bs, objective.lengths.source)
    )
  for ids, segments, positions, length in sides:
    assert ids.shape[-1] == length and ids.dtype == segments.dtype == positions.dtype == np.int32
    assert (ids[segments == 0] == rows.SPECIALS.pad).all() and (ids >= 0).all() and (ids < 260).all()
    for segments_t, positions_t in zip(segments, positions, strict=True):
      for segment in np.unique(segments_t[segments_t > 0]):
        (columns,) = np.nonzero(segments_t == segment)
        np.testing.assert_array_equal(positions_t[columns], np.arange(columns.size))
        np.testing.assert_array_equal(columns, columns[0] + np.arange(columns.size))
  assert batch.weights_bt.dtype == np.float32 and set(np.unique(batch.weights_bt)) <= {0.0, 1.0}
  assert not batch.weights_bt[batch.segments_bt == 0].any()
  if objective.lengths.source:
    for source_s, target_t in zip(batch.source_segments_bs, batch.segments_bt, strict=True):
      assert set(target_t[target_t > 0]) <= set(source_s[source_s > 0])


@every
def test_only_a_decoder_that_learns_prefixes_is_given_one(name, parameters):
  objective = made(name, parameters)
  tokens_bn, segments_bn = rows.packed(3, objective.lengths.raw, seed=4)
  batch = objective(tokens_bn, np.random.default_rng(0), segments_bn)
  if (name, parameters) == ("prefix", {}):
    assert batch.prefix_bt.shape == batch.inputs_bt.shape
  else:
    assert batch.prefix_bt is None


@every
def test_a_batch_equals_its_rows_one_by_one(name, parameters):
  objective = made(name, parameters)
  tokens_bn, segments_bn = rows.packed(9, objective.lengths.raw, seed=1)
  keys_b = objective.keys(5, 2, np.arange(9))
  batch = objective(tokens_bn, keys_b, segments_bn)
  for row in range(9):
    alone = objective(tokens_bn[row], keys_b[row], segments_bn[row])
    assert same(alone, Batch(*(None if array is None else array[row] for array in batch)))


@every
def test_a_generator_gives_rows_the_numbers_that_it_would_give_one_by_one(name, parameters):
  objective = made(name, parameters)
  tokens_bn, segments_bn = rows.packed(4, objective.lengths.raw, seed=2)
  batch = objective(tokens_bn, np.random.default_rng(8), segments_bn)
  rng = np.random.default_rng(8)
  for row in range(4):
    alone = objective(tokens_bn[row], rng, segments_bn[row])
    assert same(alone, Batch(*(None if array is None else array[row] for array in batch)))


@every
def test_stacked_batches_keep_their_axes_and_inputs_are_left_alone(name, parameters):
  objective = made(name, parameters)
  tokens_bn, segments_bn = rows.packed(6, objective.lengths.raw, seed=3)
  keys_b = objective.keys(5, 2, np.arange(6))
  before = tokens_bn.copy(), segments_bn.copy(), keys_b.copy()
  flat = objective(tokens_bn, keys_b, segments_bn)
  stacked = objective(tokens_bn.reshape(3, 2, -1), keys_b.reshape(3, 2), segments_bn.reshape(3, 2, -1))
  assert stacked.inputs_bt.shape == (3, 2, objective.lengths.target)
  assert same(flat, Batch(*(None if array is None else array.reshape(6, -1) for array in stacked)))
  assert all(map(np.array_equal, before, (tokens_bn, segments_bn, keys_b)))


@every
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_row_at_all_gives_rows_of_the_promised_form(name, parameters, data):
  length = data.draw(st.sampled_from((9, 31, 64)))
  objective = made(name, parameters, length)
  sizes = {key: value for key, value in parameters.items() if key in ("family", "rate", "mean_span")}
  assert objective.lengths.raw == raw_row_length(name, length, **sizes)
  assert (objective.lengths.source, objective.lengths.target) == row_shapes(name, length, **sizes)
  drawn = [data.draw(rows.any_row(objective.lengths.raw)) for _ in range(3)]
  tokens_bn, segments_bn = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
  check_form(
    objective(tokens_bn, np.random.default_rng(data.draw(st.integers(0, 99))), segments_bn), objective
  )


@every
def test_no_document_changes_what_another_of_its_row_gets_to_see(name, parameters):
  without_random = {"random_share": 0.0} if name.startswith("masked") else {}
  objective = made(name, parameters | without_random)
  tokens_bn, segments_bn = rows.packed(8, objective.lengths.raw, seed=4)
  # Each piece of text tells its document.
  tokens_bn = np.where((tokens_bn >= 4) & (tokens_bn < 150), 4 + segments_bn * 2 + tokens_bn % 2, tokens_bn)
  batch = objective(tokens_bn, np.random.default_rng(0), segments_bn)
  sides = [(batch.inputs_bt, batch.segments_bt), (batch.targets_bt, batch.segments_bt)]
  sides += [(batch.source_bs, batch.source_segments_bs)] if batch.source_bs is not None else []
  for ids, segments in sides:
    text = (ids >= 4) & (ids < 150)
    assert text.any()
    np.testing.assert_array_equal((ids[text] - 4) // 2, segments[text])


@every
def test_an_empty_row_bears_no_loss(name, parameters):
  objective = made(name, parameters)
  empty_bn = np.zeros((2, objective.lengths.raw), np.int32)
  batch = objective(empty_bn, np.random.default_rng(0))
  assert batch.weights_bt.sum() == 0 and not batch.segments_bt.any() and not batch.inputs_bt.any()


@every
def test_a_batch_costs_little(name, parameters):
  objective = made(name, parameters, 128)
  tokens_bn, segments_bn = rows.packed(32, objective.lengths.raw, seed=5, mean=90)
  keys_b = objective.keys(0, 0, np.arange(32))
  seconds = []
  for _ in range(20):
    begin = time.perf_counter()
    objective(tokens_bn, keys_b, segments_bn)
    seconds.append(time.perf_counter() - begin)
  print(f"{name} {parameters.keys()}: {1e6 * min(seconds):.0f} us for 32 rows of 128")
  assert min(seconds) < 0.01  # the budget is 1.4 ms; a busy machine is forgiven


def test_a_row_too_long_or_an_id_outside_the_vocabulary_is_a_clear_error():
  objective = made("causal", {}, 8)
  with pytest.raises(UserError, match="10 raw tokens"):
    objective(np.ones(10, int), np.random.default_rng(0))
  for wrong in (260, -1):
    with pytest.raises(UserError, match="vocabulary of 260"):
      objective(np.array([5, wrong]), np.random.default_rng(0))
