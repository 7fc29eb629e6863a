import numpy as np
import pytest

from gen.errors import UserError
from gen.evaluation.words import word_vectors
from gen.evaluation.words.word_vectors import WordVectors, principal_components

RNG = np.random.default_rng(1)
WORDS = tuple("abcdefg")
VECTORS = WordVectors(WORDS, RNG.normal(size=(7, 4)).astype(np.float32))


def cosine(x, y):
  x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
  return x @ y / np.sqrt((x @ x) * (y @ y))


def test_the_nearest_words_are_those_of_the_largest_cosine_without_the_word_itself():
  rows = dict(zip(WORDS, VECTORS.vectors_vd, strict=True))
  wanted = sorted(((cosine(rows["c"], rows[w]), w) for w in WORDS if w != "c"), reverse=True)
  found = VECTORS.nearest("c", 100)
  assert [word for word, _ in found] == [word for _, word in wanted]
  np.testing.assert_allclose([value for _, value in found], [value for value, _ in wanted], atol=1e-6)


def test_an_analogy_is_answered_by_3cosadd_without_its_own_words():
  rows = {w: v / np.linalg.norm(v) for w, v in zip(WORDS, VECTORS.vectors_vd.astype(float), strict=True)}
  goal = rows["b"] - rows["a"] + rows["c"]
  wanted = sorted(((cosine(goal, rows[w]), w) for w in "defg"), reverse=True)
  found = VECTORS.analogy("a", "b", "c", 9)
  assert [word for word, _ in found] == [word for _, word in wanted]
  np.testing.assert_allclose(found[0][1], wanted[0][0], atol=1e-6)


def test_an_unknown_word_is_named():
  with pytest.raises(UserError, match="'zebra' is not among the 7 words"):
    VECTORS.nearest("zebra")


def test_components_carry_the_eigenvalues_of_the_covariance_and_are_uncorrelated():
  x_nd = RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6)) + 5.0
  points_nk, shares_k = principal_components(x_nd, 3)
  eigenvalues = np.linalg.eigvalsh(np.cov(x_nd.T, bias=True))[::-1]
  np.testing.assert_allclose(np.cov(points_nk.T, bias=True), np.diag(eigenvalues[:3]), atol=1e-9)
  np.testing.assert_allclose(shares_k, eigenvalues[:3] / eigenvalues.sum())
  assert (points_nk[np.abs(points_nk).argmax(0), range(3)] > 0).all()
  with pytest.raises(ValueError, match="have no 3"):
    principal_components(x_nd[:2], 3)


@pytest.mark.parametrize("name", ["v.npz", "v.txt"])
def test_vectors_are_read_as_they_were_written(tmp_path, name):
  VECTORS.save(tmp_path / name)
  found = word_vectors.load_vectors(tmp_path / name)
  assert found.words == WORDS
  np.testing.assert_array_equal(found.vectors_vd, VECTORS.vectors_vd)
  assert found.vectors_vd.dtype == np.float32


def test_the_text_format_is_that_of_word2vec(tmp_path):
  WordVectors(("one", "two"), np.array([[0.5, -1], [2, 3]], np.float32)).save(tmp_path / "v.txt")
  assert (tmp_path / "v.txt").read_text() == "2 2\none 0.5 -1\ntwo 2 3\n"


def test_a_file_of_something_else_is_refused(tmp_path):
  (tmp_path / "v.txt").write_text("no vectors\n")
  for path in (tmp_path / "v.txt", tmp_path / "absent.npz"):
    with pytest.raises(UserError, match=path.name):
      word_vectors.load_vectors(path)
