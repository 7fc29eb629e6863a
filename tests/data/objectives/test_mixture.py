import numpy as np
import pytest
import scipy.stats

from gen.data.objectives import (
  counter_rng,
  make_objective,
  mixture,
  raw_row_length,
  row_shapes,
  span_corruption,
)
from gen.errors import UserError
from tests.data.objectives import inversion, rows

S = rows.SPECIALS


def test_denoisers_are_drawn_by_their_weights():
  denoisers = [
    mixture.Denoiser("R", 0.15, 3, 2),
    mixture.Denoiser("S", 0.25, np.inf, 1),
    mixture.Denoiser("X", 0.5, 8, 0),
  ]
  objective = make_objective("ul2", S, 64, denoisers=denoisers)
  counts = np.bincount(objective.choose(counter_rng.row_keys(0, 0, np.arange(6000))), minlength=3)
  assert counts[2] == 0 and scipy.stats.chisquare(counts[:2], [4000, 2000]).pvalue > 1e-3


def test_all_seven_denoisers_share_the_shapes_and_hide_what_they_promise():
  objective = make_objective("ul2", S, 128)
  raw = raw_row_length("ul2", 128)
  assert objective.lengths == (raw, *row_shapes("ul2", 128))
  tokens_bn, keys_b = rows.text((400, raw)), objective.keys(0, 0, np.arange(400))
  batch = objective(tokens_bn, keys_b)
  kinds_b = objective.choose(keys_b)
  assert set(kinds_b) == set(range(7))
  noise_b = ((batch.targets_bt >= 4) & (batch.targets_bt < 150)).sum(1)
  spans_b = (batch.targets_bt >= 160).sum(1)
  for kind, denoiser in enumerate(mixture.DENOISERS):
    noise, count = span_corruption.noise_counts(raw, denoiser.rate, denoiser.mean_span)
    assert set(noise_b[kinds_b == kind]) == {int(noise)} and set(spans_b[kinds_b == kind]) == {int(count)}
    mode = S.sentinels[-3 + "RSX".index(denoiser.mode)]
    assert set(batch.source_bs[kinds_b == kind, 0]) == {mode}
  assert (batch.source_segments_bs > 0).sum(1).max() == 128
  assert (batch.segments_bt > 0).sum(1).max() == objective.lengths.target


def test_the_sequential_denoiser_hides_the_end():
  objective = make_objective(
    "ul2", S, 64, modes=(150, 151, 153), denoisers=[mixture.Denoiser("S", 0.25, np.inf)]
  )
  tokens_bn = rows.text((5, objective.lengths.raw))
  batch = objective(tokens_bn, np.random.default_rng(0))
  noise = round(0.25 * objective.lengths.raw)
  shown = np.concatenate((np.full((5, 1), 151), tokens_bn[:, :-noise], np.tile([160, 1], (5, 1))), axis=1)
  np.testing.assert_array_equal(batch.source_bs, shown)
  target = np.concatenate((np.full((5, 1), 160), tokens_bn[:, -noise:], np.full((5, 1), 1)), axis=1)
  np.testing.assert_array_equal(batch.targets_bt, target)


@pytest.mark.parametrize("length", [48, 128, 512])
def test_texts_come_back_and_each_document_is_told_its_mode(length):
  objective = make_objective("ul2", S, length)
  tokens_bn, segments_bn = rows.packed(60, objective.lengths.raw, seed=length, mean=length)
  keep_b = (span_corruption.count_documents(segments_bn) <= 1 + length // 40) & ((segments_bn > 0).sum(1) > 0)
  tokens_bn, segments_bn = tokens_bn[keep_b], segments_bn[keep_b]
  batch = objective(tokens_bn, np.random.default_rng(0), segments_bn)
  specials = objective.spelling
  found_b = inversion.invert_corruption(batch, specials, objective.modes)
  for row, found in enumerate(found_b):
    wanted = rows.documents(tokens_bn[row], segments_bn[row])
    modes = {source[0] for source in rows.documents(batch.source_bs[row], batch.source_segments_bs[row])}
    assert len(modes) == 1 and modes <= set(objective.modes)
    if wanted[-1][-1] != S.eos:
      wanted[-1] = np.append(wanted[-1], S.eos)
    for got, want in zip(found, wanted, strict=True):
      np.testing.assert_array_equal(got, want)


def test_spans_grow_longer_where_sentinels_run_out():
  objective = make_objective("ul2", S, 1024)
  batch = objective(rows.text((60, objective.lengths.raw)), np.random.default_rng(1))
  spans_b = (batch.targets_bt >= 160).sum(1)
  assert spans_b.max() == 97 and (batch.source_bs[:, 1:] < 257).all()


@pytest.mark.parametrize(
  "parameters", [{"modes": (150, 151)}, {"denoisers": []}, {"denoisers": [mixture.Denoiser("Q", 0.1, 3)]}]
)
def test_impossible_mixtures_are_refused(parameters):
  with pytest.raises(UserError, match="UL2 needs"):
    make_objective("ul2", S, 64, **parameters)
