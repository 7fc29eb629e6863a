import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen.evaluation.words import word2vec
from gen.evaluation.words.word2vec import WindowDraws, WordRows, WordTables
from gen.evaluation.words.word_vectors import WordVectors

V, D, B, T, N, K = 11, 5, 3, 7, 4, 2.5


def problem():
  rng = np.random.default_rng(3)
  tables = WordTables(*(rng.normal(size=(V, D)).astype(np.float32) for _ in range(2)))
  documents_bt = np.array([[0, 0, 0, 0, 1, 1, 1], [2] * 7, [3, 4, 4, -1, -1, -1, -1]], np.int32)
  rows = WordRows(rng.integers(0, V, (B, T)).astype(np.int32), documents_bt)
  draws = WindowDraws(
    rng.integers(1, 4, (B, T)).astype(np.int32), rng.integers(0, V, (B, N)).astype(np.int32)
  )
  return tables, rows, draws


def neighbours(rows, draws, b, t):
  documents = rows.documents_bt[b]
  window = draws.windows_bt[b, t]
  return [
    s for s in range(max(0, t - window), min(T, t + window + 1))
    if s != t and documents[t] >= 0 and documents[s] == documents[t]
  ]  # fmt: skip


def log_sigmoid(x):
  return -np.logaddexp(0.0, -x)


def brute_force(kind, tables, rows, draws):
  """The loss pair by pair in float64, with its gradient by hand: d -log s(x.y) = -(1 - s(x.y)) (y dx + x dy)."""
  inputs, outputs = (np.asarray(table, np.float64) for table in tables)
  gradients = np.zeros_like(inputs), np.zeros_like(outputs)
  total, weight = 0.0, 0

  def pair(x, sources, target, sign, factor):
    nonlocal total
    score = sign * (x @ outputs[target])
    total -= factor * log_sigmoid(score)
    slope = -factor * sign * (1 - np.exp(log_sigmoid(score)))
    gradients[1][target] += slope * x
    for source in sources:
      gradients[0][source] += slope * outputs[target] / len(sources)

  for b in range(B):
    for t in range(T):
      near = neighbours(rows, draws, b, t)
      if kind == "skip_gram":
        examples = [([rows.ids_bt[b, t]], rows.ids_bt[b, s]) for s in near]
      else:
        examples = [([rows.ids_bt[b, s] for s in near], rows.ids_bt[b, t])] if near else []
      for sources, target in examples:
        x, weight = inputs[sources].mean(0), weight + 1
        pair(x, sources, target, 1, 1.0)
        for noise in draws.negatives_bn[b]:
          if noise != target:
            pair(x, sources, noise, -1, K / N)
  return total, weight, gradients


@pytest.mark.parametrize("kind", word2vec.KINDS)
def test_loss_and_gradients_equal_a_loop_over_pairs_in_float64(kind):
  tables, rows, draws = problem()
  (total, weight), gradients = jax.value_and_grad(
    lambda tables: word2vec.negative_sampling_loss(kind, tables, rows, draws, K), has_aux=True
  )(tables)
  wanted, count, slopes = brute_force(kind, tables, rows, draws)
  assert count > 10
  assert float(weight) == count
  np.testing.assert_allclose(total, wanted, rtol=1e-5)
  for found, slope in zip(gradients, slopes, strict=True):
    np.testing.assert_allclose(found, slope, atol=2e-5)


def test_negatives_follow_the_counts_to_the_power_three_quarters():
  counts_v = np.array([900, 350, 120, 60, 9, 5, 1])
  drawn = word2vec.sample_alias(word2vec.negative_distribution(counts_v), jax.random.key(4), (200, 1000))
  found_v = np.bincount(np.asarray(drawn).ravel(), minlength=7)
  share_v = counts_v**0.75 / (counts_v**0.75).sum()
  assert stats.chisquare(found_v, share_v * found_v.sum()).pvalue > 1e-3
  flat_v = counts_v / counts_v.sum()
  assert stats.chisquare(found_v, flat_v * found_v.sum()).pvalue < 1e-9


def test_frequent_words_are_thinned_out_as_the_paper_says():
  counts_v = np.array([8000, 1500, 400, 100])
  keep_v = word2vec.keep_probabilities(counts_v, 0.01)
  np.testing.assert_allclose(keep_v, [0.01**0.5 / 0.8**0.5, 0.01**0.5 / 0.15**0.5, 0.5, 1.0])
  np.testing.assert_array_equal(word2vec.keep_probabilities(counts_v, 0.0), 1.0)
  ids_n = np.repeat(np.arange(4, dtype=np.int32), counts_v)
  rows = word2vec.thin_frequent_words(
    ids_n, np.zeros(len(ids_n), np.int32), keep_v, np.random.default_rng(0), 8, 3
  )
  assert rows.ids_bt.shape[0] % 3 == 0
  left_v = np.bincount(rows.ids_bt[rows.documents_bt >= 0], minlength=4)
  spread_v = np.sqrt(counts_v * keep_v * (1 - keep_v)) + 1e-9
  assert (np.abs(left_v - counts_v * keep_v) <= 4 * spread_v).all()


def test_every_window_up_to_the_largest_is_as_likely():
  drawn = word2vec.draw_windows(jax.random.key(5), word2vec.negative_distribution(np.ones(3)), 100, 50, 4, 2)
  found_w = np.bincount(np.asarray(drawn.windows_bt).ravel(), minlength=5)
  assert found_w[0] == 0
  assert len(found_w) == 5
  assert stats.chisquare(found_w[1:]).pvalue > 1e-3


GENDERED = [
  ("king", "queen"),
  ("man", "woman"),
  ("actor", "actress"),
  ("uncle", "aunt"),
  ("prince", "princess"),
]


def planted(rng, sentences=6000):
  """Words of a pair share their theme's contexts; words of a gender share theirs."""
  vocab = [word for pair in GENDERED for word in pair]
  themes = [[f"theme{i}{k}" for k in range(6)] for i in range(len(GENDERED))]
  genders = [[f"gender{i}{k}" for k in range(6)] for i in range(2)]
  words = [*vocab, *(word for words in [*themes, *genders] for word in words)]
  number = {word: i for i, word in enumerate(words)}
  ids, documents = [], []
  for sentence in range(sentences):
    pair, gender = rng.integers(len(GENDERED)), rng.integers(2)
    line = [*rng.choice(themes[pair], 2), *rng.choice(genders[gender], 2), GENDERED[pair][gender]]
    rng.shuffle(line)
    ids += [number[word] for word in line]
    documents += [sentence] * len(line)
  return words, np.array(ids, np.int32), np.array(documents, np.int32)


@pytest.mark.parametrize("kind", word2vec.KINDS)
def test_planted_neighbours_and_analogies_come_out(kind):
  words, ids_n, documents_n = planted(np.random.default_rng(6))
  counts_v = np.bincount(ids_n, minlength=len(words))
  settings = word2vec.Word2VecSettings(
    kind, width=16, threshold=0.0, rows=32, epochs=15, learning_rate=1e-2, seed=1, shared=16
  )
  *_, last = word2vec.train_vectors(ids_n, documents_n, counts_v, settings)
  vectors = WordVectors(tuple(words), np.asarray(last.tables.inputs_vd))
  for place in range(5):
    near = {word for word, _ in vectors.nearest(f"theme{place}0", 5)}
    assert near == {f"theme{place}{k}" for k in range(1, 6)}
  right = asked = 0
  for a, b in GENDERED:
    for c, answer in GENDERED:
      if a != c:
        right, asked = right + (vectors.analogy(a, b, c)[0][0] == answer), asked + 1
  assert right >= 0.9 * asked


def test_training_is_a_pure_function_of_its_arguments():
  ids_n, documents_n = np.tile(np.arange(6, dtype=np.int32), 60), np.zeros(360, np.int32)
  settings = word2vec.Word2VecSettings(width=4, rows=2, epochs=2, shared=3, threshold=0.0)
  first, again = (
    [
      np.asarray(p.tables.inputs_vd)
      for p in word2vec.train_vectors(ids_n, documents_n, np.full(6, 60), settings)
    ]
    for _ in range(2)
  )
  np.testing.assert_array_equal(first, again)
  other = settings._replace(seed=1)
  *_, last = word2vec.train_vectors(ids_n, documents_n, np.full(6, 60), other)
  assert jnp.abs(last.tables.inputs_vd - first[-1]).max() > 1e-4
