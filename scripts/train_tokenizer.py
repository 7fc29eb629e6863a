"""Trains a tokenizer on a corpus, saves it, and prints its compression.

    uv run scripts/train_tokenizer.py --output=tokenizers/bpe --corpus=manual --kind=bpe --vocab=4096
    uv run scripts/train_tokenizer.py --output=tokenizers/speeches --corpus='speeches/*.txt' --kind=unigram

The folder holds tokenizer.json (kind, hash, sizes) and tokenizer.model;
`gen.data.tokenizers.tokenizer.load_tokenizer` reads it. It learns
from the training side of the corpus alone.
"""

from pathlib import Path

from absl import flags

from gen.cli import launch
from gen.config import Data
from gen.data import corpus
from gen.data.tokenizers import tokenizer
from gen.errors import UserError
from gen.io import outputs, quantities

OUTPUT = outputs.DEFINE_folder("output", None, "Folder to save the tokenizer in.")
CORPUS = flags.DEFINE_string("corpus", "manual", "Text, as in --config.data.corpus of a run.")
FIELD = flags.DEFINE_string("field", "text", "Field of JSONL and TFDS records that holds the text.")
SPLIT = flags.DEFINE_string("split", "train", "Split of a TFDS data set.")
KIND = flags.DEFINE_enum("kind", "bpe", ["bytes", "bpe", "unigram"], "Kind of tokenizer.")
VOCAB = quantities.DEFINE_integer(
  "vocab",
  4096,
  "Number of ids of text, with four special ids and 256 bytes.",
  lower_bound=1,
  upper_bound=2**31 - 1,
)
CACHE = flags.DEFINE_string("cache", "", "Folder of derived data; by default $GEN_CACHE or ~/.cache/gen.")


def main() -> None:
  """Trains, saves, and reports bytes per token on text that the tokenizer has not seen."""
  if not OUTPUT.value:
    raise UserError("--output is not given: name the folder to save the tokenizer in")
  data = Data(
    corpus=CORPUS.value,
    field=FIELD.value,
    split=SPLIT.value,
    tokenizer=KIND.value,
    vocab=VOCAB.value,
    cache=CACHE.value,
  )
  text = corpus.build_corpus(data, print)
  trained = tokenizer.tokenizer_for_data(data, text, print)
  try:
    trained.save(OUTPUT.value)
  except OSError as error:
    raise UserError(f"--output={OUTPUT.value}: cannot be written: {error.strerror}") from error
  unseen = text.validation[:200]
  ids = sum(map(len, trained.encode_batch(unseen)))
  size = sum(len(document.encode()) for document in unseen)
  print(
    f"saved in {Path(OUTPUT.value)}: {trained.vocab:,} ids in all, {size / ids:.2f} bytes per token on validation text"
  )


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
