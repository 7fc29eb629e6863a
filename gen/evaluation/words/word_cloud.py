"""The most frequent words as points in three dimensions: a figure, and an interactive page.

V words of a cloud, K = 3.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen.evaluation.words.word_vectors import WordVectors, principal_components
from gen.figures import page, style

NEIGHBOURS = 10  # shown per word


class AnalogyAnswer(NamedTuple):
  """An analogy a : b :: c : ?, and its answers with their cosines, best first."""

  asked: tuple[str, str, str]
  best: list[tuple[str, float]]

  @property
  def question(self) -> str:
    """The question as text."""
    a, b, c = self.asked
    return f"{a} : {b} :: {c} : ?"


class WordCloud(NamedTuple):
  """Words and their positions.

  Attributes:
    words: the most frequent ones.
    counts: how often each occurs.
    points_vk: principal components of their directions.
    shares_k: of the variance, by component.
    near: neighbours of each among all words, with cosines.
  """

  words: tuple[str, ...]
  counts: tuple[int, ...]
  points_vk: np.ndarray
  shares_k: np.ndarray
  near: list[list[tuple[str, float]]]


def make_cloud(vectors: WordVectors, counts_v: np.ndarray, count: int = 1000) -> WordCloud:
  """Places the `count` most frequent words by PCA of their vectors at length 1."""
  words = vectors.words[:count]
  points_vk, shares_k = principal_components(vectors.directions_vd[:count], 3)
  near = [vectors.nearest(word, NEIGHBOURS) for word in words]
  return WordCloud(words, tuple(int(count) for count in counts_v[: len(words)]), points_vk, shares_k, near)


def draw_cloud(made: WordCloud, path: Path, labels: int = 70) -> Path:
  """Writes a PNG of the cloud, seen from one side; the most frequent words are labelled."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with style.paper_style():
    figure, made_axes = style.new_figure(style.PAGE, 5.6, subplot_kw={"projection": "3d"})
    axes: Any = made_axes[0]  # Axes3D
    depth_v = made.points_vk[:, 2]
    axes.scatter(*made.points_vk.T, c=depth_v, cmap="viridis", s=5, alpha=0.5, linewidths=0)
    for word, point_k in list(zip(made.words, made.points_vk, strict=True))[:labels]:
      axes.text(*point_k, style.escape_mathtext(word), fontsize=7)
    for letter, share, number in zip("xyz", made.shares_k, (1, 2, 3), strict=True):
      getattr(axes, f"set_{letter}label")(f"PC {number} ({share:.0%})")
    axes.set_box_aspect(None, zoom=0.92)
    axes.set_title(f"{len(made.words):,} words in three dimensions")
    figure.savefig(path, dpi=style.DPI, metadata={"Software": None})
  return path


def write_page(
  made: WordCloud,
  path: Path,
  title: str,
  facts: Sequence[str],
  neighbours: Mapping[str, Sequence[tuple[str, float]]],
  answers: Sequence[AnalogyAnswer],
) -> Path:
  """Writes the page.

  Args:
    made: the cloud.
    path: the file.
    title: of the page.
    facts: sentences below the title.
    neighbours: words, in the cloud or not, and their nearest words for a table.
    answers: analogies.
  """
  data = {
    "words": made.words,
    "counts": made.counts,
    "points": np.round(made.points_vk, 4).tolist(),
    "near": [[(word, round(cosine, 3)) for word, cosine in best] for best in made.near],
  }
  table = [{"word": word, "near": ", ".join(near for near, _ in best)} for word, best in neighbours.items()]
  sentences = [
    {"question": answer.question, "answer": ", ".join(word for word, _ in answer.best)} for answer in answers
  ]
  return page.write_page(path, "words", data, title=title, facts=facts, neighbours=table, analogies=sentences)
