"""What does a word mean, by the words around it? Word vectors, their neighbours, analogies, and a 3-D figure.

  uv run experiments/word_vectors.py
  uv run experiments/word_vectors.py --corpus=texts/*.txt --kind=cbow --analogies=man:king:woman
  uv run experiments/word_vectors.py --vectors=runs/words/vectors.npz --words=matrix,mean

Trains skip-gram or CBOW with negative sampling (arXiv:1301.3781, arXiv:1310.4546) and writes vectors.npz, vectors.txt,
cloud.png and cloud.html (an interactive 3-D figure of the words) into the folder of the run.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import environment, launch, shared_flags, terminal
from gen.config import Data
from gen.errors import name_flag
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.evaluation.words.word_cloud import AnalogyAnswer
  from gen.evaluation.words.word_vectors import WordVectors

CORPUS = flags.DEFINE_string("corpus", "manual", "Text, as in --config.data.corpus of a run.")
FIELD = flags.DEFINE_string("field", "text", "Field of JSONL and TFDS records.")
CACHE = flags.DEFINE_string("cache", "", "Folder of corpora; empty: $GEN_CACHE or ~/.cache/gen.")
WORKDIR = outputs.DEFINE_folder("workdir", "runs/words", "Folder of the results.")
JSON = outputs.DEFINE_json()
KIND = flags.DEFINE_enum("kind", "skip_gram", ["skip_gram", "cbow"], "Which word predicts which.")
WIDTH = quantities.DEFINE_integer("width", 100, "Width of a vector.", lower_bound=3, upper_bound=1_048_576)
WINDOW = quantities.DEFINE_integer(
  "window", 5, "Words of context on each side, at most.", lower_bound=1, upper_bound=31
)
NEGATIVES = quantities.DEFINE_float("negatives", 5.0, "Noise words per pair.", lower_bound=0.0)
THRESHOLD = quantities.DEFINE_float(
  "threshold", 1e-4, "Frequency above which words are subsampled; 0: none.", 0.0
)
MIN_COUNT = quantities.DEFINE_integer(
  "min_count", 10, "Words that occur less often are left out.", lower_bound=1
)
MAX_WORDS = quantities.DEFINE_integer(
  "max_words", 0, "Size of the vocabulary, most frequent words first; 0: all.", lower_bound=0
)
ROWS = quantities.DEFINE_integer("rows", 128, "Rows of 32 words in a step.", lower_bound=1)
EPOCHS = quantities.DEFINE_integer("epochs", 8, "Passes over the corpus.", lower_bound=1)
RATE = quantities.DEFINE_float("learning_rate", 5e-3, "Initial learning rate of Adam.", lower_bound=0.0)
SEED = shared_flags.define_seed("initial vectors and samples")
SHOWN = quantities.DEFINE_integer("shown", 1000, "Words in the cloud.", lower_bound=4)
WORDS = flags.DEFINE_list("words", [], "Words whose neighbours are printed; empty: a built-in list.")
VECTORS = flags.DEFINE_string("vectors", "", "A file of vectors that an earlier call wrote, to train none.")
ANALOGIES = flags.DEFINE_list(
  "analogies", [], "Questions a:b:c, as in man:king:woman; empty: a built-in list."
)


def main() -> int:
  """Trains, prints and writes."""
  from gen.data import cache, corpus
  from gen.evaluation.words import vocabulary, word2vec, word_report, word_vectors

  questions = [word_report.parse_question(text) for text in ANALOGIES.value]
  if VECTORS.value:
    vectors = word_vectors.load_vectors(Path(VECTORS.value))
    _report({"vectors": VECTORS.value}, vectors, *word_report.print_answers(vectors, WORDS.value, questions))
    return 0
  data = Data(corpus=CORPUS.value, field=FIELD.value, cache=CACHE.value)
  environment.compilation_cache(cache.cache_folder(data) / "compiled")
  with name_flag("--corpus"):
    text = corpus.build_corpus(data, terminal.print_progress)
  known_words = vocabulary.count_vocabulary(text.train, MIN_COUNT.value, MAX_WORDS.value)
  text_ids = vocabulary.encode_words(text.train, known_words)
  terminal.print_progress(
    f"vocabulary: {len(known_words.words):,} words that occur {MIN_COUNT.value} times or more,"
    f" {len(text_ids.ids_n):,} in the text"
  )
  settings = word2vec.Word2VecSettings(
    KIND.value, WIDTH.value, WINDOW.value, NEGATIVES.value, threshold=THRESHOLD.value, rows=ROWS.value,
    epochs=EPOCHS.value, learning_rate=RATE.value, seed=SEED.value,
  )  # fmt: skip
  vectors = word_vectors.train_words(text_ids, known_words, settings, terminal.print_progress)
  shown, answers = word_report.print_answers(vectors, WORDS.value, questions)
  facts = [word_report.facts_line(settings, text.name, len(text_ids.ids_n), len(known_words.words))]
  for path in word_report.write_files(
    Path(WORKDIR.value), vectors, known_words, facts, shown, answers, SHOWN.value
  ):
    terminal.print_progress(f"wrote {path}")
  counted = {"corpus": text.name, "words": len(text_ids.ids_n), "vocabulary": len(known_words.words)}
  _report(counted, vectors, shown, answers)
  return 0


def _report(
  facts: dict[str, Any], vectors: "WordVectors", shown: list[str], answers: "list[AnalogyAnswer]"
) -> None:
  from gen.evaluation.words import word_report
  from gen.io import json_report

  report = facts | word_report.report_words(vectors, shown, answers)
  json_report.write_report(report, json_report.report_target(JSON.value))


if __name__ == "__main__":
  launch.run_experiment(main)
