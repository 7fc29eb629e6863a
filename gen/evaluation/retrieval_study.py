"""Answers of a model with and without retrieved passages in its prompt: likelihood and exact match."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from gen.evaluation import likelihood
from gen.generation import retrieval, text
from gen.generation.decoding.sampling import GREEDY

# Prompts that are answered together; chosen: a full product in decoding at little memory for caches.
BATCH = 16


@dataclasses.dataclass(frozen=True)
class RetrievalAnswer:
  """One answer, with its prompt.

  Attributes:
    prompt: with the passages that fit.
    sources: of these passages.
    expected: the right answer.
    given: the generated answer.
    correct: whether they are equal.
    nats: log probability of the right answer.
    tokens: of the right answer.
    found: whether a passage holds it.
  """

  prompt: str
  sources: list[str]
  expected: str
  given: str
  correct: bool
  nats: float
  tokens: int
  found: bool


@dataclasses.dataclass(frozen=True)
class SearchAnswers:
  """The answers with one way to search."""

  name: str
  answers: list[RetrievalAnswer]


@dataclasses.dataclass(frozen=True)
class RetrievalRow(SearchAnswers):
  """The answers with one way to search, and their means.

  Attributes:
    nats_per_token: of the right answers.
    gain: by how much that is less than in the first row.
    gain_error: standard error of the gain.
    exact_match: share of answers that are right.
    found: share of questions with a passage that holds the answer.
  """

  nats_per_token: float
  gain: float
  gain_error: float
  exact_match: float
  found: float


def make_searches(
  passages: list[Any], encoder: Any, count: int, seed: int
) -> dict[str, Callable[[Any], list[Any]]]:
  """Returns the ways to search, by name: a function from a question to passages.

  Args:
    passages: all passages.
    encoder: a loaded encoder for search by embeddings; None leaves that out.
    count: passages per question.
    seed: of the random passages.
  """
  bm25 = retrieval.Bm25Index(passages)
  draw = random.Random(seed)
  searches: dict[str, Callable[[Any], list[Any]]] = {
    "alone": lambda question: [],
    "BM25": lambda question: bm25.search(question.query, count),
  }
  if encoder is not None:
    embedded = retrieval.EmbeddingIndex(passages, encoder)
    searches["embeddings"] = lambda question: embedded.search(question.query, count)
  # Upper and lower bound of what any search can give: the answer in the prompt, and a prompt just as long without it.
  searches["the right passage"] = lambda question: _right(passages, question)
  searches["a random passage"] = lambda question: [_passage(passages, draw.randrange(len(passages)))]
  return searches


def _passage(passages: list[Any], number: int) -> Any:
  return retrieval.RetrievedPassages(number, passages[number], 0.0)


def _right(passages: list[Any], question: Any) -> list[Any]:
  """Returns the first passage of the question's document that holds the answer, if one does."""
  source = f"document {question.document}"
  holding = [
    number
    for number, passage in enumerate(passages)
    if passage.source == source and question.answer in passage.text
  ]
  return [_passage(passages, number) for number in holding[:1]]


def evaluate_search(
  name: str, restored: Any, questions: Sequence[Any], search: Any, max_tokens: int
) -> SearchAnswers:
  """Returns the answers with a way to search: likelihood and exact match of each, with its prompt and sources.

  Args:
    name: of the way to search.
    restored: a loaded decoder or recurrent model.
    questions: questions with their answers.
    search: returns passages for a question.
    max_tokens: longest generated answer.
  """
  answer_tokens = max(
    max_tokens, *(len(restored.tokenizer.encode(question.answer)) for question in questions)
  )
  sampled = [
    # Room for the longest answer in every prompt, so that passages are cut alike for all ways to search.
    retrieval.ground_question(restored, each.prompt, search(each), answer_tokens)
    for each in questions
  ]
  judged = likelihood.answer_likelihoods(
    restored, [(grounded.prompt, each.answer) for grounded, each in zip(sampled, questions, strict=True)]
  )
  written: list[Any] = []
  for begin in range(0, len(sampled), BATCH):
    prompts = [grounded.prompt for grounded in sampled[begin : begin + BATCH]]
    (part,) = text.stream_answers(
      restored, prompts, GREEDY, jax.random.key(0), max_tokens=max_tokens, stop_strings=("\n",)
    )
    written += part
  answers = [
    RetrievalAnswer(
      prompt=grounded.prompt,
      sources=grounded.sources,
      expected=each.answer,
      given=output.text.strip(),
      correct=output.text.strip() == each.answer,
      nats=nats.log_probability,
      tokens=nats.tokens,
      found=any(each.answer in hit.passage.text for hit in grounded.used),
    )
    for grounded, each, nats, output in zip(sampled, questions, judged, written, strict=True)
  ]
  return SearchAnswers(name, answers)


def compare_searches(searches: Sequence[SearchAnswers]) -> list[RetrievalRow]:
  """Returns the ways to search with means and standard errors; gains are against the first one."""
  bare = _nats_per_token(searches[0])
  rows = []
  for search in searches:
    nats = _nats_per_token(search)
    # Paired by question, so the error of a gain is that of the differences.
    gains = bare - nats
    rows.append(
      RetrievalRow(
        search.name,
        search.answers,
        nats_per_token=float(nats.mean()),
        gain=float(gains.mean()),
        gain_error=float(gains.std(ddof=1) / np.sqrt(len(gains))),
        exact_match=float(np.mean([answer.correct for answer in search.answers])),
        found=float(np.mean([answer.found for answer in search.answers])),
      )
    )
  return rows


def _nats_per_token(search: SearchAnswers) -> np.ndarray:
  return np.array([-answer.nats / answer.tokens for answer in search.answers])


def report_lines(rows: Sequence[RetrievalRow]) -> list[str]:
  """Returns the rows as a table."""
  lines = [
    f"{'':>18}  {'answer in prompt':>16}  {'nats per token':>14}  {'less than alone':>18}  {'exact match':>11}"
  ]
  for row in rows:
    gain = f"{row.gain:.3f} ± {row.gain_error:.3f}"
    cells = f"{row.found:>16.2f}  {row.nats_per_token:>14.3f}  {gain:>18}  {row.exact_match:>11.3f}"
    lines.append(f"{row.name:>18}  {cells}")
  return lines
