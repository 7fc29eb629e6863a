"""Rows of made-up documents for the tests of objectives. B rows, N raw tokens."""

import numpy as np
from hypothesis import strategies as st

from gen.data.objectives import Specials

SPECIALS = Specials(
  vocab=260,
  text_begin=4,
  text_end=150,
  pad=0,
  eos=1,
  bos=3,
  cls=150,
  sep=151,
  mask=152,
  sentinels=tuple(range(160, 260)),
)
SENTENCE_END_V = np.isin(np.arange(260), (7, 8))
WORD_START_V = np.arange(260) % 3 != 0


def text(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
  """Returns rows of text without any document's boundary."""
  return np.random.default_rng(seed).integers(4, 150, shape).astype(np.int32)


def packed(batch: int, raw: int, seed: int, mean: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
  """Returns tokens and segments of rows cut from a stream of documents bos ... eos; some rows end in padding."""
  rng = np.random.default_rng(seed)
  tokens_bn, segments_bn = np.zeros((batch, raw), np.int32), np.zeros((batch, raw), np.int32)
  for row in range(batch):
    filled = raw if rng.random() < 0.7 else int(rng.integers(0, raw + 1))
    stream, owner, segment = [], [], 0
    while len(stream) < filled + raw:
      segment += 1
      body = rng.integers(4, 150, rng.geometric(1 / mean) - 1).tolist()
      stream += [3, *body, 1]
      owner += [segment] * (len(body) + 2)
    skip = int(rng.integers(0, raw)) if rng.random() < 0.5 else 0
    tokens_bn[row, :filled] = stream[skip : skip + filled]
    segments_bn[row, :filled] = owner[skip : skip + filled]
    if filled:
      segments_bn[row, :filled] -= segments_bn[row, 0] - 1
  return tokens_bn, segments_bn


def documents(tokens_n: np.ndarray, segments_n: np.ndarray) -> list[np.ndarray]:
  """Returns the documents of one row."""
  return [tokens_n[segments_n == segment] for segment in np.unique(segments_n[segments_n > 0])]


@st.composite
def any_row(
  draw: st.DrawFn, raw: int, special_ids: tuple[int, ...] = (1, 3, 150)
) -> tuple[np.ndarray, np.ndarray]:
  """Draws a row of any tokens, specials anywhere, in documents of any sizes, padded by any length."""
  sizes = draw(st.lists(st.integers(1, max(1, raw // 2)), max_size=12))
  token = st.one_of(
    st.integers(4, 149), st.integers(4, 149), st.integers(4, 149), st.sampled_from(special_ids)
  )
  tokens_n, segments_n = np.zeros(raw, np.int32), np.zeros(raw, np.int32)
  end = 0
  for segment, size in enumerate(sizes, start=1):
    size = min(size, raw - end)
    tokens_n[end : end + size] = draw(st.lists(token, min_size=size, max_size=size))
    segments_n[end : end + size] = segment
    end += size
  return tokens_n, segments_n
