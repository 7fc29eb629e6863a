"""Neighbours, analogies and files of word vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.errors import UserError
from gen.evaluation.words import word_cloud
from gen.evaluation.words.vocabulary import Vocabulary
from gen.evaluation.words.word2vec import Word2VecSettings
from gen.evaluation.words.word_cloud import AnalogyAnswer
from gen.evaluation.words.word_vectors import WordVectors

Question = tuple[str, str, str]
MIN_WORDS = 4  # of WORDS in the vocabulary; with fewer, frequent words are added

# Shown if the vocabulary has them: words of documentation, which is the default corpus, and a few of daily language.
WORDS = [
  "float32",
  "matrix",
  "sine",
  "mean",
  "image",
  "gradient",
  "poisson",
  "json",
  "red",
  "thread",
  "king",
  "war",
]
QUESTIONS = [
  "minimum:maximum:smallest", "row:rows:column", "left:right:upper", "sin:cos:sinh", "width:height:horizontal",
  "array:arrays:matrix", "encode:decode:encoder", "man:king:woman",
]  # fmt: skip


def parse_question(text: str) -> Question:
  """Returns the words of a question such as man:king:woman.

  Raises:
    UserError: if it has not three words.
  """
  parts = [part.strip().lower() for part in text.split(":")]
  if len(parts) != 3 or not all(parts):
    raise UserError(f"--analogies: {text!r} is not a question; write a:b:c, as in man:king:woman")
  return parts[0], parts[1], parts[2]


def shown_words(vectors: WordVectors, named: Sequence[str]) -> list[str]:
  """Returns the words whose neighbours are shown: those named, else those of `WORDS`, else frequent longer words.

  Raises:
    UserError: for a named word that is not in the vocabulary.
  """
  if named:
    words = [word.strip().lower() for word in named]
    for word in words:
      vectors.id(word)
    return words
  present = [word for word in WORDS if word in vectors.ids]
  # Beyond the first eighth, where words without meaning of their own are (the, of).
  rare = [word for word in vectors.words[len(vectors.words) // 8 :] if len(word) > 2]
  return present if len(present) >= MIN_WORDS else [*present, *rare[:8]]


def answer_questions(vectors: WordVectors, questions: Sequence[Question]) -> list[AnalogyAnswer]:
  """Returns the three nearest words to each analogy.

  Raises:
    UserError: for a word that is not in the vocabulary.
  """
  return [AnalogyAnswer(question, vectors.analogy(*question, count=3)) for question in questions]


def facts_line(settings: Word2VecSettings, corpus: str, words: int, vocabulary: int) -> str:
  """Returns a sentence on how the vectors were trained; counts are of all words and of different ones."""
  return (
    f"{settings.kind.replace('_', '-')} of width {settings.width}, window {settings.window}, {settings.epochs} epochs,"
    f" on {corpus}: {words:,} words, {vocabulary:,} of them different."
  )


def report_lines(vectors: WordVectors, words: Sequence[str], answers: Sequence[AnalogyAnswer]) -> list[str]:
  """Returns the neighbours of words and the answers to analogies as lines."""
  lines = [f"{word:>12}  {', '.join(near for near, _ in vectors.nearest(word))}" for word in words]
  for answer in answers:
    best = ", ".join(f"{word} {cosine:.2f}" for word, cosine in answer.best)
    lines.append(f"{answer.question:>36}  {best}")
  return lines


def report_words(
  vectors: WordVectors, words: Sequence[str], answers: Sequence[AnalogyAnswer]
) -> dict[str, Any]:
  """Returns the neighbours of words and the answers to analogies as plain values."""
  return {
    "nearest": {word: dict(vectors.nearest(word)) for word in words},
    "analogies": [
      {"question": answer.question, "best": [list(pair) for pair in answer.best]} for answer in answers
    ],
  }


def print_answers(
  vectors: WordVectors, words: Sequence[str], questions: Sequence[Question]
) -> tuple[list[str], list[AnalogyAnswer]]:
  """Prints and returns neighbours and analogies.

  Args:
    vectors: the trained vectors.
    words: words whose neighbours are shown; empty: a built-in list.
    questions: the analogies; empty: those of `QUESTIONS` whose words are in the vocabulary.

  Raises:
    UserError: for a word that is not in the vocabulary.
  """
  if not questions:
    built_in = [parse_question(text) for text in QUESTIONS]
    questions = [question for question in built_in if all(word in vectors.ids for word in question)]
  shown = shown_words(vectors, words)
  answers = answer_questions(vectors, questions)
  for line in report_lines(vectors, shown, answers):
    print(line)
  return shown, answers


def write_files(
  folder: Path,
  vectors: WordVectors,
  vocabulary: Vocabulary,
  facts: list[str],
  words: Sequence[str],
  answers: list[AnalogyAnswer],
  count: int,
) -> list[Path]:
  """Writes the vectors, the figure and the page, and returns their paths.

  Args:
    folder: where to write.
    vectors: the trained vectors.
    vocabulary: words with their counts.
    facts: lines at the head of the page.
    words: words whose neighbours the page shows.
    answers: analogies that the page shows.
    count: words of the cloud.

  Raises:
    UserError: if the folder cannot be written.
  """
  paths = [folder / name for name in ("vectors.npz", "vectors.txt", "cloud.png", "cloud.html")]
  try:
    for path in paths[:2]:
      vectors.save(path)
    cloud = word_cloud.make_cloud(vectors, vocabulary.counts_v, count)
    word_cloud.draw_cloud(cloud, paths[2])
    near = {word: vectors.nearest(word, 6) for word in words}
    word_cloud.write_page(cloud, paths[3], "Words by the company they keep", facts, near, answers)
  except OSError as error:
    raise UserError(f"--workdir={folder}: cannot be written: {error.strerror or error}") from None
  return paths
