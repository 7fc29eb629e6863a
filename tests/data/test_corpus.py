import importlib.metadata
import json
import lzma
import random

import pytest

from gen.config import Data
from gen.data import corpus
from gen.data.sources.python_packages import environment
from gen.errors import UserError


@pytest.fixture
def folder(tmp_path):
  rng = random.Random(0)
  for index in range(200):
    words = (rng.choice(["sun", "moon", "tide", "é", "—"]) for _ in range(rng.randint(1, 300)))
    (tmp_path / f"{index:03}.txt").write_text(f"{index} {' '.join(words)}")
  return tmp_path


def data_of(path, cached, **fields):
  return Data(corpus=str(path), cache=str(cached), **({"validation_fraction": 0.1} | fields))


def test_training_and_validation_part_the_files(folder, tmp_path_factory):
  found = corpus.build_corpus(data_of(folder, tmp_path_factory.mktemp("cache")))
  texts = [path.read_text() for path in sorted(folder.iterdir())]
  assert sorted([*found.train, *found.validation]) == sorted(texts)
  assert not set(found.train) & set(found.validation)
  assert 8 <= len(found.validation) <= 35
  assert found.documents == 200
  assert found.bytes == sum(len(text.encode()) for text in texts)
  assert found.validation_bytes == sum(len(text.encode()) for text in found.validation)


def test_a_files_side_depends_on_no_other_file(folder, tmp_path_factory):
  cached = tmp_path_factory.mktemp("cache")
  before = corpus.build_corpus(data_of(folder, cached))
  for path in sorted(folder.iterdir())[::2]:
    path.unlink()
  after = corpus.build_corpus(data_of(folder, cached))
  assert set(after.train) <= set(before.train)
  assert set(after.validation) <= set(before.validation)


def test_what_the_cache_gives_back_is_what_was_built(folder, tmp_path_factory):
  cached = tmp_path_factory.mktemp("cache")
  lines = []
  first, second = (corpus.build_corpus(data_of(folder, cached), lines.append) for _ in range(2))
  assert first._replace(seconds=0) == second._replace(seconds=0)
  assert "found in the cache" in lines[1]
  assert "found in the cache" not in lines[0]
  for words in ("200 documents", f"{first.bytes:,} bytes", first.sha256):
    assert all(words in line for line in lines)


def test_the_hash_follows_content_and_parting_only(folder, tmp_path_factory):
  cached = tmp_path_factory.mktemp("cache")
  first = corpus.build_corpus(data_of(folder, cached))
  elsewhere = tmp_path_factory.mktemp("moved") / "deeper"
  elsewhere.mkdir()
  for path in folder.iterdir():
    (elsewhere / path.name).write_bytes(path.read_bytes())
  assert corpus.build_corpus(data_of(elsewhere, cached)).sha256 == first.sha256
  assert corpus.build_corpus(data_of(folder, cached, validation_fraction=0.3)).sha256 != first.sha256
  (folder / "000.txt").write_text("another")
  assert corpus.build_corpus(data_of(folder, cached)).sha256 != first.sha256


def test_duplicates_stay_once_whatever_their_white_space(tmp_path):
  texts = ["one two", " one\ttwo\n", "three", "one two", "   ", "", "Three"]
  (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
  found = corpus.build_corpus(data_of(tmp_path / "a.jsonl", tmp_path / "cache"))
  assert sorted([*found.train, *found.validation]) == ["Three", "one two", "three"]


@pytest.mark.parametrize("fraction", [1e-6, 1 - 1e-6])
def test_each_side_has_a_document_however_odd_the_fraction(folder, tmp_path_factory, fraction):
  found = corpus.build_corpus(data_of(folder, tmp_path_factory.mktemp("cache"), validation_fraction=fraction))
  assert min(len(found.train), len(found.validation)) == 1


@pytest.mark.parametrize(
  "text", ["many words in one line " * 300, "line\n" * 3000, "x" * 10_000, "two words"]
)
def test_a_single_text_is_parted_by_blocks(tmp_path, text):
  (tmp_path / "a.txt").write_text(text)
  found = corpus.build_corpus(data_of(tmp_path / "a.txt", tmp_path / "cache"))
  assert found.train and found.validation
  assert found.bytes == len(text)
  assert found.validation_bytes < found.bytes / 2 or len(text) < 20


def test_a_damaged_cache_is_built_again(folder, tmp_path_factory):
  cached = tmp_path_factory.mktemp("cache")
  first = corpus.build_corpus(data_of(folder, cached))
  train = list(first.train)  # the mapped file is about to change under it
  texts = next(cached.glob("corpus-*/texts.bin"))
  content = bytearray(texts.read_bytes())
  content[100] ^= 1
  texts.write_bytes(content)
  again = corpus.build_corpus(data_of(folder, cached))
  assert again.sha256 == first.sha256
  assert again.train == train


def test_texts_behave_like_a_list(folder, tmp_path_factory):
  train = corpus.build_corpus(data_of(folder, tmp_path_factory.mktemp("cache"))).train
  plain = list(train)
  assert train == plain
  assert (train[0], train[-1], train[3:9:2]) == (plain[0], plain[-1], plain[3:9:2])
  assert train != plain[:-1]
  with pytest.raises(IndexError):
    train[len(plain)]


@pytest.mark.parametrize("content", ["", " \n\n "])
def test_an_empty_corpus_is_the_users_to_mend(tmp_path, content):
  for name in ("a.txt", "b.jsonl"):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match="is empty"):
      corpus.build_corpus(data_of(tmp_path / name, tmp_path / "cache"))


def test_one_document_cannot_be_parted(tmp_path):
  (tmp_path / "a.jsonl").write_text('{"text": "alone"}\n{"text": "alone"}\n')
  with pytest.raises(UserError, match="one document"):
    corpus.build_corpus(data_of(tmp_path / "a.jsonl", tmp_path / "cache"))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_the_fraction_lies_between_none_and_all(tmp_path, fraction):
  with pytest.raises(UserError, match="validation_fraction"):
    corpus.build_corpus(data_of(tmp_path, tmp_path / "cache", validation_fraction=fraction))


def test_a_broken_source_leaves_nothing_in_the_cache(tmp_path):
  (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": ')
  with pytest.raises(UserError, match=r"a\.jsonl:2"):
    corpus.build_corpus(data_of(tmp_path / "a.jsonl", tmp_path / "cache"))
  assert not list((tmp_path / "cache").glob("[!.]*"))


def test_the_environment_gives_a_corpus_without_a_download(tmp_path, monkeypatch):
  few = [importlib.metadata.distribution(name) for name in ("absl-py", "optax", "ml-collections")]
  monkeypatch.setattr(environment, "dependency_distributions", lambda: few)
  found = corpus.build_corpus(Data(corpus="environment", cache=str(tmp_path), validation_fraction=0.2))
  assert found.bytes > 300_000
  assert found.train and found.validation
  assert not set(found.train) & set(found.validation)
  assert any("Args:" in text for text in found.validation)
  code = corpus.build_corpus(Data(corpus="environment:code", cache=str(tmp_path), validation_fraction=0.2))
  assert code.bytes > 2 * found.bytes
  assert len(list(tmp_path.glob("corpus-*"))) == 2


def test_a_compressed_text_of_megabytes_is_read_whole(speeches, tmp_path):
  found = corpus.build_corpus(data_of(speeches, tmp_path, validation_fraction=0.05))
  text = lzma.decompress(speeches.read_bytes()).decode()
  blocks = sorted([*found.train, *found.validation], key=text.index)
  assert "".join(blocks) == text and found.documents == len(blocks) > 30
  assert found.bytes == len(text.encode())
  assert 0.01 < found.validation_bytes / found.bytes < 0.12


def test_a_corpus_of_which_too_little_is_left_says_what_went(tmp_path):
  blank, same = tmp_path / "blank.jsonl", tmp_path / "same.jsonl"
  blank.write_text('{"text": " "}\n{"text": ""}\n{"text": "\\n"}\n')
  same.write_text('{"text": "one  text"}\n{"text": "one text"}\n{"text": " "}\n{"text": "one\\ntext"}\n')
  with pytest.raises(UserError, match="is empty, because none of its 3 documents has any text"):
    corpus.build_corpus(data_of(blank, tmp_path / "cache"))
  with pytest.raises(
    UserError, match=r"one document is left, .* 2 repeated and 1 empty documents are left out"
  ):
    corpus.build_corpus(data_of(same, tmp_path / "cache"))
