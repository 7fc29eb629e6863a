"""A tokenizer that was trained here gives the same ids once it is written as tokenizer.json."""

from pathlib import Path

import pytest

from gen.data.tokenizers import subwords
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.interop import tokenizers
from gen.interop.tokenizers import written

TEXTS = [
  "The cat sat on the mat.",
  "  two  spaces\n\tand\u00a0others ",
  "Größe 3.14 😀 漢字",
  "",
  "def f(x):\n  return 12",
]
CORPUS = Path(subwords.__file__).read_text().split("\n\n") + TEXTS


@pytest.mark.parametrize("kind", ["bytes", "bpe", "unigram"])
def test_ids_and_texts_are_those_of_the_tokenizer_that_was_written(kind, tmp_path):
  own = ByteTokenizer() if kind == "bytes" else subwords.train_subwords(CORPUS, kind, 450)
  written.write_tokenizer(tmp_path, own, own.text_vocab, ends=False)
  read = tokenizers.load_tokenizer(tmp_path)
  assert (read.vocab, read.bos, read.eos, read.pad) == (own.text_vocab, own.bos, own.eos, own.pad)
  assert read.mask is None
  for text in [*TEXTS, *CORPUS[:7]]:
    ids = own.encode(text).tolist()
    assert read.encode(text).tolist() == ids
    assert read.encode_for_model(text).tolist() == [own.bos, *ids]
    assert read.decode(ids) == text


def test_special_tokens_of_the_models_vocabulary_are_written_with_the_end_of_a_text(tmp_path):
  own = ByteTokenizer()
  written.write_tokenizer(tmp_path, own, own.vocab, ends=True)
  read = tokenizers.load_tokenizer(tmp_path)
  assert (read.vocab, read.mask, read.cls) == (own.vocab, own.mask, own.cls)
  assert read.encode_for_model("ab").tolist() == [own.bos, *own.encode("ab").tolist(), own.eos]
