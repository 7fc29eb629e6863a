"""Near-duplicates: every pair above the threshold and no other, against a comparison of all pairs."""

import itertools
import json
import random

import numpy as np
import pytest

from gen.data.curation import reading
from gen.data.curation.global_stages import minhash, near_duplicates
from gen.data.curation.rules import words

VOCABULARY = [f"word{number}" for number in range(900)]


def planted(count, seed=0):
  """Returns texts, of which every second is a copy of the one before with some words replaced."""
  rng = random.Random(seed)
  texts = []
  for number in range(count):
    drawn = [rng.choice(VOCABULARY) for _ in range(rng.randint(90, 240))]
    texts.append(" ".join(drawn))
    for at in rng.sample(range(len(drawn)), round(len(drawn) * (0.01, 0.03, 0.036, 0.06)[number % 4])):
      drawn[at] = rng.choice(VOCABULARY)
    texts.append(" ".join(drawn))
  rng.shuffle(texts)
  return texts


def shingles(text, n=3):
  split = text.split()
  return {tuple(split[at : at + n]) for at in range(len(split) - n + 1)}


def test_planted_pairs_are_found_and_nothing_else(curate, write_jsonl, monkeypatch):
  monkeypatch.setattr(reading, "MAX_DOCUMENTS", 31)
  texts = planted(70)
  sets = [shingles(text) for text in texts]
  true = {
    (a, b)
    for a, b in itertools.combinations(range(len(texts)), 2)
    if len(sets[a] & sets[b]) >= 0.8 * len(sets[a] | sets[b])
  }
  outcome, folder = curate(write_jsonl(texts), ("near_duplicates",))
  drops = [json.loads(line) for line in (folder / "drops.jsonl").read_text().splitlines()]
  found = {(int(drop["detail"].rpartition(":")[2]) - 1, drop["n"]) for drop in drops}
  assert len(true) > 30 and found == true
  assert outcome.report["out"]["documents"] == len(texts) - len(true)


def test_a_chain_is_one_cluster_whose_first_stays(curate, write_jsonl):
  base = VOCABULARY[:60]
  chain = [
    " ".join([*base[:-k], *(f"new{at}" for at in range(k))]) if k else " ".join(base) for k in (8, 0, 4)
  ]
  first, last = shingles(chain[0]), shingles(chain[1])
  assert len(first & last) < 0.8 * len(first | last)  # the ends are not similar, but each is to the middle
  _, folder = curate(write_jsonl(chain), ("near_duplicates",))
  drops = [json.loads(line) for line in (folder / "drops.jsonl").read_text().splitlines()]
  assert [(drop["n"], drop["detail"]) for drop in drops] == [(1, "raw.jsonl:1"), (2, "raw.jsonl:1")]


def test_many_copies_take_one_comparison_each():
  loaded = []
  clusters = near_duplicates.Clusters(500)
  same = np.arange(40, dtype=np.uint64)
  near_duplicates.join_group(np.arange(500), clusters, lambda at: loaded.append(at) or same, 0.8)
  assert clusters.joined == 499 and len(loaded) < 1500
  assert (clusters.first_members()[1:] == 1).all()


def test_short_and_empty_texts_are_near_only_to_themselves(curate, write_jsonl):
  _, folder = curate(write_jsonl(["one two", "!", "two one", "?", "one two.", "x"]), ("near_duplicates",))
  drops = [json.loads(line)["n"] for line in (folder / "drops.jsonl").read_text().splitlines()]
  assert drops == [4]


@pytest.mark.parametrize(("threshold", "permutations"), [(0.5, 128), (0.8, 128), (0.8, 250), (0.95, 64)])
def test_bands_miss_a_pair_at_the_threshold_as_rarely_as_asked(threshold, permutations):
  bands, rows = minhash.choose_bands(threshold, permutations, 0.01)
  assert bands * rows <= permutations
  assert (1 - threshold**rows) ** bands <= 0.01
  assert (1 - threshold ** (rows + 1)) ** (permutations // (rows + 1)) > 0.01


def test_signatures_agree_as_often_as_sets_do():
  rng = np.random.default_rng(4)
  first, second = (
    np.unique(rng.integers(0, 1 << 63, 600, np.uint64)),
    np.unique(rng.integers(0, 1 << 63, 600, np.uint64)),
  )
  second = np.unique(np.concatenate([first[:400], second[:200]]))
  agree = minhash.compute_signature(first, 1000, 3) == minhash.compute_signature(second, 1000, 3)
  assert abs(agree.mean() - minhash.jaccard_similarity(first, second)) < 0.05
  assert minhash.jaccard_similarity(first, second) == 0.5


def test_sets_of_shingles_are_those_of_words():
  text = "One two, three: one two three - one."
  assert len(words.shingle_set(text, 3)) == 3
  assert list(words.shingle_set(text, 3)) == sorted(set(words.all_shingles(text, 3)))


def test_words_have_equal_hashes_where_they_are_equal_and_nowhere_else(monkeypatch):
  rng = random.Random(4)
  texts = ["It's GPT-3, 学习 naïve_x", "x" * 70 + " yy " + "x" * 71 + " z", " a", "z" + "y" * 300, "ab " * 90]
  texts += ["".join(rng.choice("abAB_1 .é\n") for _ in range(150)) for _ in range(60)]
  known = {}
  for block in (1 << 15, 64):  # in blocks too; of a longer word its beginning counts
    monkeypatch.setattr(words, "_BLOCK", block)
    for text in texts:
      split, hashes = words.split_words(text), words.all_shingles(text, 1).tolist()
      assert len(split) == len(hashes)
      for word, value in zip(split, hashes, strict=True):
        assert known.setdefault(word.encode()[:block], value) == value
  assert len(set(known.values())) == len(known) > 300


def test_hashes_of_ascii_text_are_those_of_its_words():
  for text in ("It's GPT-3, a_b\tC1\x1f", "naïve It's"):
    assert words.word_hashes(text).tolist() == [words.text_hash(word) for word in words.split_words(text)]
