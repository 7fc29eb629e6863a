"""Retrieval of passages for a question, by words or by an encoder, and prompts with as many as the window allows.

    BM25          rare words of the question weigh more, with a bounded gain from repetition
                  (Robertson and Zaragoza, 2009; computed by bm25s, the extra `retrieval`)
    embeddings    cosine of mean hidden states, of any encoder's checkpoint

B rows, T positions, P passages, D width.
"""

import functools
import json
import logging
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.config import Model, from_dict, to_dict
from gen.errors import UserError
from gen.generation import text
from gen.generation.decoding import decoders
from gen.generation.loaded_model import LoadedModel
from gen.generation.prompts import PromptTemplate
from gen.models import language_model

MULTIPLE = 16  # lengths are rounded up to it, so that few programs are compiled
SHOWN = PromptTemplate("{text}\n")  # format of a passage in a prompt


class Passage(NamedTuple):
  """A text and its source."""

  text: str
  source: str


class RetrievedPassages(NamedTuple):
  """A passage that answers a query.

  Attributes:
    number: its position in the index.
    passage: the passage.
    score: higher is better; comparable only within one index.
  """

  number: int
  passage: Passage
  score: float


class Bm25Index:
  """An index by words; passages without any word of the query are not returned."""

  # Lucene's defaults, in the range that Robertson and Zaragoza 2009 recommend (1.2 < k1 < 2, 0.5 < b < 0.8).
  def __init__(self, passages: Sequence[Passage], k1: float = 1.2, b: float = 0.75) -> None:
    """Counts the words of the passages.

    Args:
      passages: at least one with a word.
      k1: weight of repetition; 0 ignores it.
      b: penalty of long passages; 0 is none.

    Raises:
      UserError: if the library is missing, or there is no word.
    """
    try:
      import bm25s
    except ImportError:
      raise UserError(
        "BM25 search needs bm25s; run with uv run --extra retrieval, or pip install bm25s"
      ) from None
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it logs each index that it builds
    self.passages = list(passages)
    counted = [search_words(passage.text) for passage in self.passages]
    # Unknown words have no statistics; a query of such words alone finds nothing.
    self._known = {word for each in counted for word in each}
    if not self._known:
      raise UserError("the passages contain no words; give at least one with words")
    # lucene's inverse document frequency is never negative, unlike the original for words in most passages.
    self._index = bm25s.BM25(k1=k1, b=b, method="lucene")
    self._index.index(counted, show_progress=False)

  def search(self, query: str, count: int) -> list[RetrievedPassages]:
    """Returns at most `count` passages with a word of the query, best first."""
    words = [word for word in search_words(query) if word in self._known]
    if not words:
      return []
    return [
      passage for passage in _best(self.passages, self._index.get_scores(words), count) if passage.score > 0
    ]


class EmbeddingIndex:
  """An index by embeddings of an encoder; returns the nearest passages."""

  def __init__(self, passages: Sequence[Passage], encoder: LoadedModel, batch: int = 16) -> None:
    """Embeds all passages.

    Args:
      passages: at least one.
      encoder: a checkpoint of family encoder.
      batch: passages per batch.

    Raises:
      UserError: for no passages, or a model that is no encoder.
    """
    if not passages:
      raise UserError("there are no passages to search; give at least one")
    self.passages, self._encoder = list(passages), encoder
    self._embedded_pd = embed_texts(encoder, [passage.text for passage in passages], batch)

  def search(self, query: str, count: int) -> list[RetrievedPassages]:
    """Returns the `count` nearest passages, nearest first; the score is the cosine."""
    (query_d,) = embed_texts(self._encoder, [query], 1)
    return _best(self.passages, self._embedded_pd @ query_d, count)


def search_words(content: str) -> list[str]:
  """Returns the words of a text in lower case; a dotted name also gives its parts.

  >>> search_words("See jax.lax.top_k!")
  ['see', 'jax', 'lax', 'top_k', 'top', 'k']
  """
  words = []
  for word in re.findall(r"\w+", content.lower()):
    parts = [part for part in word.split("_") if part]
    words += [word, *parts] if len(parts) > 1 else [word]
  return words


def embed_texts(encoder: LoadedModel, texts: Sequence[str], batch: int = 16) -> np.ndarray:
  """Returns the mean last hidden state of each text, special tokens left out, of length 1, [P, D] float32.

  Texts beyond the window are cut at their end.

  Raises:
    UserError: for a model that is no encoder, or an empty text.
  """
  model = encoder.model
  if model.family != "encoder":
    raise UserError(f"a model of family {model.family} is not an encoder; embeddings of passages need one")
  how, size = encoder.reading, model.context
  program = _program(json.dumps(to_dict(model)))
  rows = []
  for content in texts:
    ids = encoder.tokenizer.encode(content)
    if not len(ids):
      raise UserError("a passage is empty; give every passage some text")
    # The marks at both ends stay, as in training.
    room = size - len(how.before) - len(how.after) if size else len(ids)
    rows.append(np.array([*how.before, *ids[:room], *how.after], np.int32))
  # By length: a batch is padded to its longest row.
  order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
  found_pd = np.zeros((len(rows), model.width), np.float32)
  for begin in range(0, len(order), batch):
    taken = order[begin : begin + batch]
    # The last batch repeats its last row, so that all batches have one shape.
    tokens_bt, pads_b = decoders.pad_prompts(
      [rows[i] for i in taken] + [rows[taken[-1]]] * (batch - len(taken)), MULTIPLE, False
    )
    places_bt, ends_b1 = np.arange(tokens_bt.shape[1]), tokens_bt.shape[1] - pads_b[:, None]
    segments_bt = (places_bt < ends_b1).astype(np.int32)
    # The marks are the same in every text, and would only move all means towards each other.
    counted_bt = (places_bt >= len(how.before)) & (places_bt < ends_b1 - len(how.after))
    found_pd[taken] = np.asarray(program(encoder.params, tokens_bt, segments_bt, counted_bt))[: len(taken)]
  return found_pd


@functools.lru_cache(maxsize=8)
def _program(model_json: str) -> Any:
  module = language_model.build_model(from_dict(Model, json.loads(model_json)))

  def run(params: Any, tokens_bt: Array, segments_bt: Array, counted_bt: Array) -> Array:
    states_btd: Any = module.apply({"params": params}, tokens_bt, segments_bt=segments_bt, method="states")
    # A sum: its length is divided out in the next line anyway.
    mean_bd = jnp.einsum("btd,bt->bd", states_btd.astype(jnp.float32), counted_bt.astype(jnp.float32))
    # Of length 1, so that a product is the cosine. 1e-9: a text of special tokens alone has a sum of 0.
    return mean_bd / jnp.maximum(jnp.linalg.norm(mean_bd, axis=-1, keepdims=True), 1e-9)

  return jax.jit(run)


def _best(passages: Sequence[Passage], scores_p: np.ndarray, count: int) -> list[RetrievedPassages]:
  if count < 1:
    raise UserError(f"{count} passages are requested; ask for at least 1")
  # Equal scores keep the order of the passages, so results do not vary.
  order = np.argsort(-np.asarray(scores_p), kind="stable")[:count]
  return [RetrievedPassages(int(i), passages[i], float(scores_p[i])) for i in order]


class GroundedPrompt(NamedTuple):
  """A prompt with retrieved passages.

  Attributes:
    prompt: passages and question.
    used: the passages in it, best first; in the prompt the best is next to the question.
    left_out: passages that did not fit.
    tokens: of the prompt.
    window: its size in tokens, 0 for unlimited.
  """

  prompt: str
  used: list[RetrievedPassages]
  left_out: list[RetrievedPassages]
  tokens: int
  window: int

  @property
  def sources(self) -> list[str]:
    """The distinct sources of the passages, best first."""
    return list(dict.fromkeys(retrieved.passage.source for retrieved in self.used))


def ground_question(
  restored: LoadedModel,
  question: str,
  passages: Sequence[RetrievedPassages],
  new: int,
  template: PromptTemplate = SHOWN,
  blank: str = text.BLANK,
) -> GroundedPrompt:
  """Returns a prompt of the question and as many passages as fit with the new tokens, the best ones first.

  A passage that does not fit is skipped; a shorter one after it may still fit.

  Args:
    restored: the model that is to answer.
    question: a prompt without passages.
    passages: from a search, best first.
    new: maximum tokens of the answer.
    template: of a passage, with fields text, source and number.
    blank: the mark of a blank in the prompt of a model that fills blanks.

  Raises:
    UserError: for an empty question, or one that does not fit without passages.
  """
  count = text.count_tokens(restored, question, new, blank)
  if count.left is not None and count.left < 0:
    raise UserError(
      f"the question has {count.prompt} tokens, and with {count.new} new ones needs {count.used} of the context"
      f" window's {count.window}; shorten it, or ask for fewer tokens"
    )
  # Greedy, in the order of scores: a passage that fits is never given up for two others.
  prompt, used, left_out = question, list[RetrievedPassages](), list[RetrievedPassages]()
  for retrieved in passages:
    # Counted as one text, because tokens may span the boundary of two passages.
    longer = _joined(template, [*used, retrieved], question)
    tried = text.count_tokens(restored, longer, new, blank)
    if tried.left is not None and tried.left < 0:
      left_out.append(retrieved)
    else:
      prompt, count = longer, tried
      used.append(retrieved)
  return GroundedPrompt(prompt, used, left_out, count.prompt, count.window)


def _joined(template: PromptTemplate, used: Sequence[RetrievedPassages], question: str) -> str:
  """Returns the passages and the question, with the best passage next to the question."""
  parts = [
    template.fill(text=retrieved.passage.text, source=retrieved.passage.source, number=str(number))
    for number, retrieved in enumerate(used, 1)
  ]
  # The best passage last: models use the ends of a long context best (arXiv:2307.03172).
  return "".join(reversed(parts)) + question


def split_passages(content: str, source: str, max_words: int) -> list[Passage]:
  r"""Returns a text as passages of complete lines with at most `max_words` words; longer lines are cut between words.

  >>> [passage.text for passage in split_passages("a b\n\nc d e\nf", "here", 3)]
  ['a b', 'c d e', 'f']
  """
  if max_words < 1:
    raise UserError(f"passages of {max_words} words are not possible; take at least 1")
  pieces: list[tuple[str, int]] = []
  for line in content.splitlines():
    each = line.split()
    for begin in range(0, len(each), max_words):
      part = each[begin : begin + max_words]
      pieces.append((line.strip() if len(each) <= max_words else " ".join(part), len(part)))
  passages, lines, held = [], list[str](), 0
  for piece, size in pieces:
    # `held` is above 0 here, since no piece is longer than max_words.
    if held + size > max_words:
      passages.append(Passage("\n".join(lines), source))
      lines, held = [], 0
    lines.append(piece)
    held += size
  return [*passages, Passage("\n".join(lines), source)] if lines else passages
