"""What does a word mean, by the company it keeps? Word vectors, their neighbours, analogies, and shape in 3-D.

  uv run experiments/word_vectors.py
  uv run experiments/word_vectors.py --corpus=texts/*.txt --kind=cbow --analogies=man:king:woman

Trains skip-gram or CBOW with negative sampling (arXiv:1301.3781, arXiv:1310.4546) and writes vectors.npz, vectors.txt,
cloud.png and cloud.html (a cloud of words that can be turned) into the folder of the run.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gen.cli import environment, launch
from gen.config import Data
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.evaluation.words.vocabulary import Vocabulary, WordIds
  from gen.evaluation.words.word2vec import Word2VecSettings
  from gen.evaluation.words.word_cloud import AnalogyAnswer
  from gen.evaluation.words.word_vectors import WordVectors

CORPUS = flags.DEFINE_string("corpus", "manual", "Text, as in --config.data.corpus of a run.")
FIELD = flags.DEFINE_string("field", "text", "Field of JSONL and TFDS records.")
CACHE = flags.DEFINE_string("cache", "", "Folder of corpora; empty: $GEN_CACHE or ~/.cache/gen.")
WORKDIR = outputs.DEFINE_folder("workdir", "runs/words", "Folder that vectors, figure and page go to.")
JSON = outputs.DEFINE_json()
KIND = flags.DEFINE_enum("kind", "skip_gram", ["skip_gram", "cbow"], "Which word predicts which.")
WIDTH = quantities.DEFINE_integer("width", 100, "Width of a vector.", lower_bound=3, upper_bound=1_048_576)
WINDOW = quantities.DEFINE_integer(
  "window", 5, "Furthest word that a word looks at.", lower_bound=1, upper_bound=31
)
NEGATIVES = quantities.DEFINE_float("negatives", 5.0, "Noise words that a pair weighs.", lower_bound=0.0)
THRESHOLD = quantities.DEFINE_float(
  "threshold", 1e-4, "Frequency above which words are thinned; 0: none.", 0.0
)
LEAST = quantities.DEFINE_integer("least", 10, "Count below which a word is left out.", lower_bound=1)
MOST = quantities.DEFINE_integer("most", 0, "Words that stay at most; 0: all.", lower_bound=0)
ROWS = quantities.DEFINE_integer("rows", 128, "Rows of 32 words in a step.", lower_bound=1)
EPOCHS = quantities.DEFINE_integer("epochs", 8, "How often the corpus is read.", lower_bound=1)
RATE = quantities.DEFINE_float("learning_rate", 5e-3, "Adam's at the start.", lower_bound=0.0)
SEED = quantities.DEFINE_integer("seed", 0, "Of all that is drawn.", lower_bound=0, upper_bound=2**32 - 1)
SHOWN = quantities.DEFINE_integer("shown", 1000, "Words of the cloud.", lower_bound=4)
WORDS = flags.DEFINE_list("words", [], "Words whose neighbours are printed; empty: a choice.")
ANALOGIES = flags.DEFINE_list("analogies", [], "Questions a:b:c, as in man:king:woman; empty: a choice.")

# Asked where the corpus knows all of their words.
ASKED = [
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


def main() -> int:
  """Trains, prints and writes."""
  questions = [_question(text) for text in ANALOGIES.value or QUESTIONS]
  from gen.data import cache, corpus
  from gen.evaluation.words import vocabulary as vocabulary_module
  from gen.evaluation.words import word2vec
  from gen.io import json_report

  data = Data(corpus=CORPUS.value, field=FIELD.value, cache=CACHE.value)
  environment.compilation_cache(cache.cache_folder(data) / "compiled")
  text = corpus.build_corpus(data, _say)
  known = vocabulary_module.count_vocabulary(text.train, LEAST.value, MOST.value)
  read = vocabulary_module.encode_words(text.train, known)
  _say(f"words: {len(known.words):,} that occur {LEAST.value} times or more, {len(read.ids_n):,} in the text")
  settings = word2vec.Word2VecSettings(
    KIND.value, WIDTH.value, WINDOW.value, NEGATIVES.value, threshold=THRESHOLD.value, rows=ROWS.value,
    epochs=EPOCHS.value, learning_rate=RATE.value, seed=SEED.value,
  )  # fmt: skip
  vectors = _train(read, known, settings)
  asked = _asked(vectors)
  answers = _answers(vectors, questions)
  for word in asked:
    print(f"{word:>12}  {', '.join(near for near, _ in vectors.nearest(word))}")
  for answer in answers:
    print(f"{answer.question:>36}  {', '.join(f'{word} {cosine:.2f}' for word, cosine in answer.best)}")
  facts = [
    f"{settings.kind.replace('_', '-')} of width {settings.width}, window {settings.window}, {settings.epochs} epochs,"
    f" on {text.name}: {len(read.ids_n):,} words, {len(known.words):,} of them different."
  ]
  for path in _write(vectors, known, facts, asked, answers):
    _say(f"wrote {path}")
  json_report.write_report(
    {
      "corpus": text.name, "words": len(read.ids_n), "vocabulary": len(known.words),
      "nearest": {word: dict(vectors.nearest(word)) for word in asked},
      "analogies": [
        {"question": answer.question, "best": [list(pair) for pair in answer.best]} for answer in answers
      ],
    },
    json_report.report_target(JSON.value),
  )  # fmt: skip
  return 0


def _say(line: str) -> None:
  print(line, file=sys.stderr)


def _question(text: str) -> tuple[str, str, str]:
  parts = [part.strip().lower() for part in text.split(":")]
  if len(parts) != 3 or not all(parts):
    raise UserError(f"--analogies: {text!r} is no question; write a:b:c, as in man:king:woman")
  return parts[0], parts[1], parts[2]


def _train(read: "WordIds", known: "Vocabulary", settings: "Word2VecSettings") -> "WordVectors":
  import numpy as np

  from gen.evaluation.words import word2vec
  from gen.evaluation.words.word_vectors import WordVectors

  began = time.perf_counter()
  for progress in word2vec.train_vectors(read.ids_n, read.documents_n, known.counts_v, settings):
    _say(
      f"epoch {progress.epoch}/{settings.epochs}  loss {progress.loss:.4f}  {progress.words:,} words after thinning"
      f"  {time.perf_counter() - began:.0f} s"
    )
  return WordVectors(known.words, np.asarray(progress.tables.inputs_vd))


def _asked(vectors: "WordVectors") -> list[str]:
  """Returns the words to be shown: those named, or those of the choice, or else frequent ones that tell something."""
  if WORDS.value:
    words = [word.strip().lower() for word in WORDS.value]
    for word in words:
      vectors.id(word)
    return words
  known = [word for word in ASKED if word in vectors.ids]
  rare = [word for word in vectors.words[len(vectors.words) // 8 :] if len(word) > 2]
  return known if len(known) >= 4 else [*known, *rare[:8]]


def _answers(vectors: "WordVectors", questions: list[tuple[str, str, str]]) -> "list[AnalogyAnswer]":
  from gen.evaluation.words.word_cloud import AnalogyAnswer

  if not ANALOGIES.value:
    questions = [asked for asked in questions if all(word in vectors.ids for word in asked)]
  return [AnalogyAnswer(asked, vectors.analogy(*asked, count=3)) for asked in questions]


def _write(
  vectors: "WordVectors",
  known: "Vocabulary",
  facts: list[str],
  asked: list[str],
  answers: "list[AnalogyAnswer]",
) -> list[Path]:
  from gen.evaluation.words import word_cloud

  folder = Path(WORKDIR.value)
  paths = [folder / name for name in ("vectors.npz", "vectors.txt", "cloud.png", "cloud.html")]
  try:
    for path in paths[:2]:
      vectors.save(path)
    made = word_cloud.make_cloud(vectors, known.counts_v, SHOWN.value)
    word_cloud.draw_cloud(made, paths[2])
    near = {word: vectors.nearest(word, 6) for word in asked}
    word_cloud.write_page(made, paths[3], "Words by the company they keep", facts, near, answers)
  except OSError as error:
    raise UserError(f"--workdir={folder}: cannot be written: {error.strerror or error}") from None
  return paths


if __name__ == "__main__":
  launch.run_experiment(main)
