"""A tokenizer that came with a checkpoint trains here: documents have a begin, an end and padding of their own."""

import dataclasses
import json

import numpy as np
import pytest

from gen.config import Data, Model, Optimizer, Run, validation
from gen.data import batches, dataset
from gen.data.tokenizers import tokenizer as tokenizers
from gen.errors import UserError
from gen.generation import loaded_model
from gen.interop import huggingface
from gen.interop.tokenizers.training import CompletedTokenizer, load_for_training
from gen.models import language_model
from gen.training import loop, vocabulary_rows
from gen.training.run_log import journal

pytest.importorskip("tokenizers")
WORDS = "the cat sat on a mat and saw that it was flat".split()  # noqa: SIM905


def byte_level(folder, **special):
  """Writes a byte-level tokenizer.json of 256 bytes, whose special tokens are given by role."""
  from gen.interop.tokenizers.json_file import byte_letters

  letters = byte_letters()
  vocab = {letter: number for number, letter in enumerate(sorted(letters, key=letters.get))}
  names = sorted(set(special.values()))
  added = [
    {"id": 256 + number, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
     "normalized": False, "special": True}
    for number, name in enumerate(names)
  ]  # fmt: skip
  file = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
              "end_of_word_suffix": "", "fuse_unk": False, "vocab": vocab, "merges": []},
  }  # fmt: skip
  folder.mkdir(exist_ok=True)
  (folder / "tokenizer.json").write_text(json.dumps(file))
  settings = {f"{role}_token": name for role, name in special.items()}
  (folder / "tokenizer_config.json").write_text(json.dumps(settings))
  return folder


@pytest.fixture
def gpt2(tmp_path):
  return byte_level(tmp_path / "gpt2", eos="<|endoftext|>", bos="<|endoftext|>", unk="<|endoftext|>")


@pytest.fixture
def data(tmp_path, gpt2):
  texts = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 9)) + f" {i}." for i in range(60)]
  (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
  return Data(
    corpus=str(tmp_path / "texts.jsonl"), tokenizer=str(gpt2), length=16, batch=2, validation_fraction=0.3,
    validation_tokens=100, cache=str(tmp_path / "cache"),
  )  # fmt: skip


def test_one_token_for_begin_end_and_padding_becomes_three(gpt2):
  tokenizer = load_for_training(str(gpt2))
  assert (tokenizer.eos, tokenizer.pad, tokenizer.bos) == (256, 258, 257)
  assert tokenizer.text_vocab == 259
  assert tokenizer.vocab == 259 + 101
  assert tokenizer.decode([99, 97, 116, 257, 256]) == "cat"
  assert tokenizer.decode([257, 99, 256], keep_special=True) == "<s>c<|endoftext|>"
  assert tokenizer.encode("cat").tolist() == [99, 97, 116]


def test_special_tokens_of_the_files_are_used_where_they_differ(tmp_path):
  tokenizer = load_for_training(
    str(byte_level(tmp_path / "t", eos="</s>", bos="<s>", pad="<pad>", mask="<mask>"))
  )
  assert (tokenizer.eos, tokenizer.pad, tokenizer.bos, tokenizer.mask) == (256, 258, 259, 257)
  assert tokenizer.text_vocab == 260


def test_a_saved_tokenizer_is_read_back_with_the_same_ids(gpt2, tmp_path):
  tokenizer = load_for_training(str(gpt2))
  tokenizer.save(tmp_path / "run" / "tokenizer")
  for place in (tmp_path / "run", tmp_path / "run" / "tokenizer"):
    again = tokenizers.find_tokenizer(place)
    assert isinstance(again, CompletedTokenizer)
    assert (again.hash, again.vocab, again.bos) == (tokenizer.hash, tokenizer.vocab, tokenizer.bos)


def test_a_folder_of_an_own_tokenizer_is_read_too(tmp_path):
  tokenizers.ByteTokenizer().save(tmp_path / "tokenizer")
  assert tokenizers.find_tokenizer(tmp_path).hash == tokenizers.ByteTokenizer().hash


def test_documents_of_a_foreign_tokenizer_begin_and_end(data):
  loaded = dataset.load_dataset(data)
  first = loaded.train.ids[loaded.train.starts[1] :][:3]
  assert first[0] == loaded.tokenizer.bos
  assert loaded.train.ids[loaded.train.starts[1] - 1] == loaded.tokenizer.eos
  objective = batches.make_objective(data, loaded.tokenizer, "decoder")
  batch = batches.Batches(loaded.train, data, 0, objective).at(0)
  ends = batch.targets_bt == loaded.tokenizer.eos
  assert ends.any() and (batch.weights_bt[ends] == 1).all()


@pytest.mark.slow
def test_a_run_starts_from_a_hugging_face_folder_with_its_tokenizer(data, gpt2, tmp_path):
  model = Model(
    vocab=261, width=12, depth=2, head_width=6, context=20, positions="learned", tied=True, bias=True, norm_bias=True,
  )  # fmt: skip
  params = language_model.initialize_parameters(model, loop.jax.random.key(1))
  huggingface.save_checkpoint(gpt2, model, params)
  run = Run(
    model=dataclasses.replace(model, vocab=0, context=0), data=data, start_from=str(gpt2), steps=1,
    optimizer=Optimizer(schedule="constant", peak_learning_rate=1e-9),
  )  # fmt: skip
  loaded = dataset.load_dataset(data)
  loop.train_run(run, tmp_path / "run", loaded)
  started = loaded_model.load_model(tmp_path / "run", 0)
  table, source = (np.asarray(tree["embedding"]["embedding"]) for tree in (started.params, params))
  np.testing.assert_array_equal(table[:257], source[:257])
  np.testing.assert_array_equal(table[257], source[256])  # bos has the row of the token that was both
  positions = [tree["target"]["embeddings"]["positions"]["embedding"] for tree in (started.params, params)]
  np.testing.assert_array_equal(positions[0], positions[1][:16])
  notes = next(
    row for row in journal.read_journal(tmp_path / "run" / "journal.jsonl") if row["kind"] == "source"
  )
  assert notes["notes"][1].startswith("258 of 259 rows of the vocabulary are copied, and 1 drawn")
  assert started.tokenizer.hash == loaded.tokenizer.hash


def test_rows_of_equal_texts_correspond_in_their_order():
  class Fake:
    vocab, hash = 5, "a"
    pad = eos = unk = bos = cls = sep = mask = None

    def __init__(self, pieces, hash):
      self.pieces, self.hash = pieces, hash
      self.vocab = len(pieces)

    def is_special(self, number):
      return self.pieces[number].startswith(b"<")

    def piece(self, number):
      return self.pieces[number]

    def name(self, number):
      return self.pieces[number].decode()

  mine, its = Fake([b"a", b"b", b"a", b"<x>", b"z"], "m"), Fake([b"<x>", b"a", b"q", b"a", b"b", b"z"], "i")
  assert vocabulary_rows.match_rows(mine, 6, its, 5).tolist() == [1, 4, 3, 0, -1, -1]


def test_a_tokenizer_that_is_none_is_one_sentence(data, tmp_path):
  run = Run(data=dataclasses.replace(data, tokenizer="bpee"), steps=1)
  with pytest.raises(
    UserError, match=r"data.tokenizer is 'bpee'; it must be one of bytes, bpe, unigram, the folder"
  ):
    validation.check_run(run)
  for name in ("x" * 5000, "a\0b"):
    with pytest.raises(UserError, match=r"data.tokenizer is '.*'; it must be one of bytes, bpe, unigram"):
      validation.check_run(dataclasses.replace(run, data=dataclasses.replace(data, tokenizer=name)))
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError, match="has no tokenizer"):
    dataset.load_dataset(dataclasses.replace(data, tokenizer=str(tmp_path / "empty")))
