import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.data.objectives import Specials, make_objective, raw_row_length, row_shapes, span_corruption
from gen.errors import UserError
from tests.data.objectives import inversion, rows

S = rows.SPECIALS


def t5_lengths(length, rate, mean):
  """T5's rule, step by step in plain Python."""

  def sizes(raw):
    noise = round(raw * rate)
    noise = min(max(noise, 1), raw - 1)
    count = min(max(round(noise / mean), 1), raw - noise)
    return raw - noise + count + 1, noise + count + 1

  raw = 2
  while sizes(raw + 1)[0] <= length:
    raw += 1
  return raw, sizes(raw)[1]


@pytest.mark.parametrize(("length", "raw", "target"), [(512, 568, 114), (128, 141, 29), (256, 284, 58)])
def test_the_lengths_of_the_paper(length, raw, target):
  assert raw_row_length("span_corruption", length) == raw
  assert row_shapes("span_corruption", length) == (length, target)


@settings(max_examples=150, deadline=None)
@given(st.integers(5, 700), st.floats(0.02, 0.6), st.floats(1, 20))
def test_lengths_follow_t5s_rule_for_any_length_rate_and_mean(length, rate, mean):
  sizes = span_corruption.row_lengths(length, rate, mean)
  assert (sizes.raw, sizes.target) == t5_lengths(length, rate, mean)


@pytest.mark.parametrize(("length", "noise", "count"), [(512, 85, 28), (128, 21, 7), (256, 43, 14)])
def test_a_row_of_one_text_fills_both_shapes_exactly(length, noise, count):
  objective = make_objective("span_corruption", S, length)
  batch = objective(rows.text((20, objective.lengths.raw)), np.random.default_rng(0))
  assert (
    (batch.source_segments_bs == 1).all() and (batch.segments_bt == 1).all() and (batch.weights_bt == 1).all()
  )
  sentinels_bs, sentinels_bt = batch.source_bs >= 160, batch.targets_bt >= 160
  np.testing.assert_array_equal(sentinels_bs.sum(1), count)
  for ids, marks in ((batch.source_bs, sentinels_bs), (batch.targets_bt, sentinels_bt)):
    np.testing.assert_array_equal(ids[marks].reshape(20, -1), np.tile(S.sentinels[:count], (20, 1)))
    assert (ids[:, -1] == S.eos).all() and (ids == S.eos).sum() == 20
  np.testing.assert_array_equal((~sentinels_bt).sum(1), noise + 1)
  assert (batch.targets_bt[:, 0] == S.sentinels[0]).all()
  # Two spans never touch: they would be one.
  assert not (sentinels_bs[:, 1:] & sentinels_bs[:, :-1]).any()
  np.testing.assert_array_equal(batch.inputs_bt[:, 1:], batch.targets_bt[:, :-1])
  assert (batch.inputs_bt[:, 0] == S.pad).all()


@pytest.mark.parametrize("length", [128, 257])
def test_spans_of_bytes_are_twenty_long_on_average(length):
  raw, target = t5_lengths(length, 0.15, 20)
  assert (raw_row_length("span_corruption_bytes", length), row_shapes("span_corruption_bytes", length)) == (
    raw,
    (length, target),
  )
  batch = make_objective("span_corruption_bytes", S, length)(rows.text((20, raw)), np.random.default_rng(0))
  spans = (batch.source_bs >= 160).sum()
  hidden = (batch.targets_bt < 160).sum() - 20  # without each row's eos
  assert spans == 20 * max(round(round(raw * 0.15) / 20), 1) and hidden == 20 * round(raw * 0.15)
  with pytest.raises(UserError, match="no parameter 'mean_span'"):
    make_objective("span_corruption_bytes", S, length, mean_span=3.0)


def test_the_example_of_the_page():
  tokens_n = np.array([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
  noise_n = np.isin(np.arange(11), (2, 3, 8))
  begins_n = np.isin(np.arange(11), (2, 8))
  places = span_corruption.spans.SpanPositions(noise_n[None], begins_n[None])
  sizes = span_corruption.RowLengths(11, 12, 7)
  batch = span_corruption.spell_out(tokens_n[None], np.ones((1, 11), int), places, S, sizes, 0)
  np.testing.assert_array_equal(batch.source_bs[0], [10, 11, 160, 14, 15, 16, 17, 161, 19, 20, 1, 0])
  np.testing.assert_array_equal(batch.targets_bt[0], [160, 12, 13, 161, 18, 1, 0])
  np.testing.assert_array_equal(batch.inputs_bt[0], [0, 160, 12, 13, 161, 18, 0])
  np.testing.assert_array_equal(batch.weights_bt[0], [1, 1, 1, 1, 1, 1, 0])


def expected(tokens_n, segments_n):
  """Returns the documents of a row, with the eos that a cut-off last one is given."""
  found = rows.documents(tokens_n, segments_n)
  if found and found[-1][-1] != S.eos:
    found[-1] = np.append(found[-1], S.eos)
  return found


@settings(max_examples=150, deadline=None)
@given(st.integers(6, 150), st.integers(0, 10**6), st.floats(4, 200), st.sampled_from((0.05, 0.15, 0.3, 0.5)))
def test_packed_documents_come_back_from_source_and_target(length, seed, mean_document, rate):
  objective = make_objective("span_corruption", S, length, rate=rate)
  tokens_bn, segments_bn = rows.packed(4, objective.lengths.raw, seed, mean=mean_document)
  spans = span_corruption.noise_counts(objective.lengths.raw, rate, 3.0)[1]
  fits_b = span_corruption.count_documents(segments_bn) <= max(1, spans // 2)  # not crowded by documents
  tokens_bn, segments_bn = tokens_bn[fits_b], segments_bn[fits_b]
  batch = objective(tokens_bn, np.random.default_rng(seed), segments_bn)
  for row, found in enumerate(inversion.invert_corruption(batch, S)):
    for got, want in zip(found, expected(tokens_bn[row], segments_bn[row]), strict=True):
      np.testing.assert_array_equal(got, want)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from((9, 30, 128)), st.integers(0, 99))
def test_of_any_row_documents_come_back_whole_or_are_left_out_at_its_end(data, length, seed):
  objective = make_objective("span_corruption", S, length)
  tokens_n, segments_n = data.draw(rows.any_row(objective.lengths.raw))
  (found,) = inversion.invert_corruption(objective(tokens_n, np.random.default_rng(seed), segments_n), S)
  wanted = expected(tokens_n, segments_n)
  assert len(found) <= len(wanted)
  for got, want in zip(found, wanted, strict=False):
    np.testing.assert_array_equal(got, want)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from((12, 33, 128)))
def test_any_single_document_comes_back(data, length):
  objective = make_objective("span_corruption", S, length)
  size = data.draw(st.integers(1, objective.lengths.raw))
  tokens_n = np.array(data.draw(st.lists(st.integers(4, 149), min_size=size, max_size=size)))
  batch = objective(tokens_n, np.random.default_rng(data.draw(st.integers(0, 99))))
  ((got,),) = inversion.invert_corruption(batch, S)
  np.testing.assert_array_equal(got, np.append(tokens_n, S.eos))


def test_documents_of_a_row_are_examples_of_their_own():
  objective = make_objective("span_corruption", S, 256, start=3)
  tokens_bn, segments_bn = rows.packed(60, objective.lengths.raw, seed=1, mean=120)
  batch = objective(tokens_bn, np.random.default_rng(0), segments_bn)
  several = 0
  for row in range(60):
    targets = rows.documents(batch.targets_bt[row], batch.segments_bt[row])
    several += len(targets) > 1
    for target, inputs in zip(
      targets, rows.documents(batch.inputs_bt[row], batch.segments_bt[row]), strict=True
    ):
      assert target[0] == S.sentinels[0] and target[-1] == S.eos and (target == S.eos).sum() == 1
      np.testing.assert_array_equal(inputs, np.append(3, target[:-1]))
      marks = target[target >= 160]
      np.testing.assert_array_equal(marks, S.sentinels[: marks.size])
      assert not np.isin(target, (S.bos, S.pad)).any()
  assert several > 20


def test_rows_of_several_documents_keep_the_noise_close_to_its_rate():
  objective = make_objective("span_corruption", S, 256)
  tokens_bn, segments_bn = rows.packed(300, objective.lengths.raw, seed=2, mean=100)
  full_b = (segments_bn > 0).all(1)
  batch = objective(tokens_bn[full_b], np.random.default_rng(0), segments_bn[full_b])
  noise_b = ((batch.targets_bt >= 4) & (batch.targets_bt < 150)).sum(1)
  assert abs(noise_b.mean() / objective.lengths.raw - 0.15) < 0.01
  assert (batch.source_segments_bs > 0).sum(1).min() >= 250


def test_more_spans_than_sentinels_is_an_error_unless_they_may_merge():
  with pytest.raises(UserError, match=r"needs 114 spans.*100 sentinels"):
    make_objective("span_corruption", S, 2048)
  objective = make_objective("span_corruption", S, 2048, merge=True)
  batch = objective(rows.text((3, objective.lengths.raw)), np.random.default_rng(0))
  assert ((batch.source_bs >= 160).sum(1) == 100).all()
  for got, want in zip(
    inversion.invert_corruption(batch, S), rows.text((3, objective.lengths.raw)), strict=True
  ):
    np.testing.assert_array_equal(got[0][:-1], want)


def test_sentinels_may_be_numbered_downwards_as_in_t5():
  t5 = Specials(
    vocab=32128, text_begin=3, text_end=32000, pad=0, eos=1, sentinels=tuple(range(32099, 31999, -1))
  )
  objective = make_objective("span_corruption", t5, 128)
  batch = objective(rows.text((2, 141)), np.random.default_rng(0))
  np.testing.assert_array_equal(batch.targets_bt[batch.targets_bt >= 32000], [*range(32099, 32092, -1)] * 2)


@pytest.mark.parametrize(("rate", "mean"), [(0, 3), (1, 3), (0.15, 0.5), (math.nan, 3)])
def test_impossible_parameters_are_refused(rate, mean):
  with pytest.raises(UserError, match="span corruption needs"):
    make_objective("span_corruption", S, 64, rate=rate, mean_span=mean)
  with pytest.raises(UserError, match="too small"):
    make_objective("span_corruption", S, 2)
