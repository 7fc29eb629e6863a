import json

import numpy as np
import pytest

from gen.config import Data
from gen.data import corpus, token_stream
from gen.data.tokenizers import tokenizer


@pytest.fixture(scope="module")
def text(tmp_path_factory):
  folder = tmp_path_factory.mktemp("text")
  with (folder / "a.jsonl").open("w") as stream:
    for index in range(60):
      stream.write(json.dumps({"text": f"{index} " + "wörd \u2581 " * (index % 7)}) + "\n")
  return corpus.build_corpus(
    Data(corpus=str(folder / "a.jsonl"), cache=str(folder / "cache"), validation_fraction=0.2)
  )


def documents_of(stream):
  ends = [*stream.starts[1:], len(stream.ids)]
  return [stream.ids[start:end] for start, end in zip(stream.starts, ends, strict=True)]


def test_a_stream_is_every_document_between_bos_and_eos(text, tmp_path):
  each = tokenizer.ByteTokenizer()
  for stream, texts in zip(
    token_stream.tokenize_corpus(text, each, Data(cache=str(tmp_path))),
    (text.train, text.validation),
    strict=True,
  ):
    found = documents_of(stream)
    assert all(ids[0] == each.bos and ids[-1] == each.eos for ids in found)
    assert sorted(each.decode(ids[1:-1]) for ids in found) == sorted(texts)
    assert np.flatnonzero(stream.ids == each.bos).tolist() == stream.starts.tolist()
    assert stream.ids.dtype == np.uint16


def test_documents_come_in_a_fixed_random_order(text, tmp_path):
  each = tokenizer.ByteTokenizer()
  one, other = (
    token_stream.tokenize_corpus(text, each, Data(cache=str(tmp_path / name)))[0] for name in "ab"
  )
  assert np.array_equal(one.ids, other.ids)
  order = [each.decode(ids[1:-1]) for ids in documents_of(one)]
  assert order != list(text.train)


def test_streams_are_found_in_the_cache(text, tmp_path):
  lines = []
  each = tokenizer.ByteTokenizer()
  first, second = (
    token_stream.tokenize_corpus(text, each, Data(cache=str(tmp_path)), lines.append) for _ in range(2)
  )
  for before, after in zip(first, second, strict=True):
    assert np.array_equal(before.ids, after.ids)
    assert np.array_equal(before.starts, after.starts)
    assert isinstance(after.ids, np.memmap)
  assert [line.endswith("found in the cache") for line in lines] == [False, True]
  assert f"{len(first[0].ids):,} for training" in lines[0]


def test_chunks_do_not_show(text, tmp_path, monkeypatch):
  each = tokenizer.ByteTokenizer()
  whole = token_stream.tokenize_corpus(text, each, Data(cache=str(tmp_path / "a")))[0]
  monkeypatch.setattr(token_stream, "CHUNK", 10)
  assert np.array_equal(
    token_stream.tokenize_corpus(text, each, Data(cache=str(tmp_path / "b")))[0].ids, whole.ids
  )


def test_a_large_vocabulary_takes_wider_ids(text, tmp_path):
  each = tokenizer.ByteTokenizer()
  each.vocab, each.hash = 70_000, "wide"
  assert token_stream.tokenize_corpus(text, each, Data(cache=str(tmp_path)))[0].ids.dtype == np.uint32
