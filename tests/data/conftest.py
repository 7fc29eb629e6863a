"""A text of megabytes in one compressed file, as published corpora come."""

import itertools
import lzma
import random

import pytest


@pytest.fixture(scope="session")
def speeches(tmp_path_factory):
  """Returns a .txt.xz of 233 speeches, two megabytes in which common words are common and some are accented."""
  rng = random.Random(11)
  letters = "etaoinshrdlucmfwypvbgké"
  words = ["".join(rng.choices(letters, range(23, 0, -1), k=rng.randint(2, 9))) for _ in range(3000)]
  weights = list(itertools.accumulate(1 / rank for rank in range(1, 3001)))  # Zipf's law
  lines = []
  for year in range(1790, 2023):
    sentences = (
      " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(5, 30))).capitalize() for _ in range(80)
    )
    lines.append(f"{year}: {'. '.join(sentences)}.")
  path = tmp_path_factory.mktemp("speeches") / "speeches.txt.xz"
  path.write_bytes(lzma.compress("\n".join(lines).encode(), preset=0))
  return path
