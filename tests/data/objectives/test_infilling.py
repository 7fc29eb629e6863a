import numpy as np
import pytest
import scipy.stats

from gen.data.objectives import counter_rng, infilling, make_objective
from gen.errors import UserError
from tests.data.objectives import rows

S = rows.SPECIALS


def test_the_target_is_the_text_and_starts_after_eos():
  tokens_bn, segments_bn = rows.packed(30, 64, seed=0, mean=20)
  batch = make_objective("infilling", S, 64)(tokens_bn, np.random.default_rng(0), segments_bn)
  np.testing.assert_array_equal(batch.targets_bt, tokens_bn)
  np.testing.assert_array_equal(batch.weights_bt, segments_bn > 0)
  begins_bn = (batch.positions_bt == 0) & (segments_bn > 0)
  assert (batch.inputs_bt[begins_bn] == S.eos).all()
  inside_bn = (segments_bn > 0) & ~begins_bn
  np.testing.assert_array_equal(batch.inputs_bt[:, 1:][inside_bn[:, 1:]], tokens_bn[:, :-1][inside_bn[:, 1:]])


def test_thirty_percent_is_hidden_exactly():
  batch = make_objective("infilling", S, 512)(rows.text((50, 512)), np.random.default_rng(0))
  kept_b = ((batch.source_bs >= 4) & (batch.source_bs < 150)).sum(1)
  np.testing.assert_array_equal(kept_b, 512 - 154)


def test_span_lengths_are_poisson_until_the_last():
  objective = make_objective("infilling", S, 512)
  drawn_bj = objective.draw(np.full(600, 154), counter_rng.row_keys(0, 0, np.arange(600)))
  np.testing.assert_array_equal(np.maximum(drawn_bj, 0).sum(1), 154)
  # A fixed number of spans of each row: those that end the count are longer than most.
  counts = np.bincount(drawn_bj[:, :25].ravel())
  expected = scipy.stats.poisson.pmf(np.arange(10), 3) * counts.sum()
  observed = np.append(counts[:9], counts[9:].sum())
  expected[9] = counts.sum() - expected[:9].sum()
  assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3


def test_poisson_probabilities_are_scipys():
  for mean in (0.3, 3, 40):
    cumulative = infilling.poisson_cumulative(mean)
    np.testing.assert_allclose(
      cumulative, scipy.stats.poisson.cdf(np.arange(cumulative.size), mean), atol=1e-12
    )


def match(source, text):
  """Tells whether masks of any lengths turn the source into the text (a pattern of wildcards)."""
  reach = {0}
  for token in source:
    if token == S.mask:
      reach = set(range(min(reach), len(text) + 1)) if reach else reach
    else:
      reach = {place + 1 for place in reach if place < len(text) and text[place] == token}
  return len(text) in reach


def test_masks_stand_for_what_is_missing_in_each_document():
  tokens_bn, segments_bn = rows.packed(60, 96, seed=1, mean=30)
  batch = make_objective("infilling", S, 96)(tokens_bn, np.random.default_rng(2), segments_bn)
  for row in range(60):
    text_b = rows.documents(tokens_bn[row], segments_bn[row])
    source_b = rows.documents(batch.source_bs[row], batch.source_segments_bs[row])
    for text, source in zip(text_b, source_b, strict=True):
      assert match(source, text)
      for special in (S.bos, S.eos):
        assert (source == special).sum() == (text == special).sum()


def test_there_is_a_mask_for_each_span_and_for_each_empty_one():
  objective = make_objective("infilling", S, 128)
  keys_b = objective.keys(0, 0, np.arange(300))
  batch = objective(rows.text((300, 128)), keys_b)
  drawn_bj = objective.draw(np.full(300, 38), keys_b)
  masks_b = (batch.source_bs == S.mask).sum(1)
  np.testing.assert_array_equal(masks_b, (drawn_bj >= 0).sum(1))
  assert (drawn_bj == 0).sum() > 100
  np.testing.assert_array_equal((batch.source_segments_bs > 0).sum(1), 128 - 38 + masks_b)


def test_places_are_even_over_the_text():
  batch = make_objective("infilling", S, 60)(np.tile(np.arange(10, 70), (4000, 1)), np.random.default_rng(3))
  kept_n = np.bincount(batch.source_bs.ravel(), minlength=260)[10:70] / 4000
  np.testing.assert_allclose(kept_n[8:52], 0.7, atol=0.05)


def test_sentences_are_permuted_first_when_their_ends_are_known():
  plain = make_objective("infilling", S, 64)
  both = make_objective("infilling", S, 64, sentence_end_v=rows.SENTENCE_END_V)
  alone = make_objective("sentence_permutation", S, 64, sentence_end_v=rows.SENTENCE_END_V)
  tokens_bn = rows.text((20, 64)) % 9 + 4
  keys_b = both.keys(0, 0, np.arange(20))
  shuffled_bn = alone(tokens_bn, keys_b).source_bs
  assert (shuffled_bn != tokens_bn).any(1).all()
  batch = both(tokens_bn, keys_b)
  np.testing.assert_array_equal(batch.source_bs, plain(shuffled_bn, keys_b).source_bs)
  np.testing.assert_array_equal(batch.targets_bt, tokens_bn)


@pytest.mark.parametrize("parameters", [{"rate": 0}, {"rate": 1.0}, {"mean_span": 0}, {"mean_span": 1000}])
def test_impossible_parameters_are_refused(parameters):
  with pytest.raises(UserError, match="infilling needs"):
    make_objective("infilling", S, 16, **parameters)
