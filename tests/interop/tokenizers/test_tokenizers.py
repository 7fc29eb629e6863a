import io
import json

import numpy as np
import pytest
import sentencepiece
import tokenizers as library

from gen.data.tokenizers.tokenizer import Tokenizer
from gen.errors import UserError
from gen.interop import tokenizers

TEXTS = ["the cat sat on the mat", "a dog and a cat", "größer, naïve: 3.14", "the end of the text"] * 20


def byte_level(folder):
  """Writes a tokenizer.json as GPT-2's, which pads and cuts texts if it is let."""
  made = library.Tokenizer(library.models.BPE())
  made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
  made.decoder = library.decoders.ByteLevel()
  alphabet = library.pre_tokenizers.ByteLevel.alphabet()
  made.train_from_iterator(
    TEXTS,
    library.trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet),
  )
  made.enable_truncation(4)
  made.enable_padding(length=9)
  made.save(str(folder / "tokenizer.json"))
  return made


def word_pieces(folder):
  """Writes a tokenizer.json as BERT's."""
  made = library.Tokenizer(library.models.WordPiece(unk_token="[UNK]"))
  made.normalizer = library.normalizers.BertNormalizer()
  made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
  made.decoder = library.decoders.WordPiece()
  special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  made.train_from_iterator(TEXTS, library.trainers.WordPieceTrainer(vocab_size=90, special_tokens=special))
  made.post_processor = library.processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
  )
  made.save(str(folder / "tokenizer.json"))


def sentence_pieces(**options):
  """Returns the bytes of a sentencepiece model."""
  written = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXTS),
    model_writer=written,
    vocab_size=60,
    hard_vocab_limit=False,
    minloglevel=2,
    **options,
  )
  return written.getvalue()


def test_a_byte_level_tokenizer_gives_back_any_text_and_counts_its_bytes(tmp_path):
  made = byte_level(tmp_path)
  found = tokenizers.load_tokenizer(tmp_path)
  assert isinstance(found, Tokenizer)
  text = "the naïve cat → größer; a long text that nothing cuts"
  ids = found.encode(text)
  made.no_truncation()
  made.no_padding()
  assert ids.tolist() == made.encode(text).ids and ids.dtype == np.int32
  assert found.decode(ids) == text
  assert found.byte_lengths[ids].sum() == len(text.encode())
  assert found.eos == found.bos == 0 and found.pad is None and found.is_special(0) and not found.is_special(9)
  assert found.decode([0, *ids]) == text and found.decode([0], keep_special=True) == "<|endoftext|>"
  with pytest.raises(ValueError, match="id 999 does not exist"):
    found.decode([999])


def test_word_pieces_have_the_special_tokens_of_their_model_only_when_they_are_asked_for(tmp_path):
  word_pieces(tmp_path)
  found = tokenizers.load_tokenizer(tmp_path)
  plain = found.encode("The cat").tolist()
  assert found.encode_for_model("The cat").tolist() == [found.cls, *plain, found.sep]
  pair = found.encode_for_model("The cat", "a dog").tolist()
  assert pair == [found.cls, *plain, found.sep, *found.encode("a dog").tolist(), found.sep]
  assert (found.pad, found.unk, found.cls, found.sep, found.mask) == (0, 1, 2, 3, 4)
  assert found.decode(plain) == "the cat"


def test_roles_are_those_that_the_files_beside_it_name(tmp_path):
  byte_level(tmp_path)
  (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<|endoftext|>"}}))
  assert tokenizers.load_tokenizer(tmp_path).pad == 0


def test_t5s_sentinels_follow_its_pieces_from_the_last_id_down(tmp_path):
  (tmp_path / "spiece.model").write_bytes(sentence_pieces(pad_id=0, eos_id=1, unk_id=2, bos_id=-1))
  found = tokenizers.load_tokenizer(tmp_path)
  pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
  assert found.vocab == pieces.get_piece_size() + 100
  assert found.sentinel(0) == found.vocab - 1 and found.sentinel(99) == pieces.get_piece_size()
  ids = found.encode("the cat sat")
  assert ids.tolist() == pieces.encode("the cat sat")
  assert found.encode_for_model("the cat sat").tolist() == [*ids, 1] and found.bos is None
  assert found.decode([*ids, found.sentinel(3), 1]) == "the cat sat"
  assert found.decode([*ids, found.sentinel(3)], keep_special=True) == "the cat sat <extra_id_3>"
  assert found.is_special(found.sentinel(3)) and not found.is_special(int(ids[0]))


def test_xlm_robertas_ids_are_moved_behind_its_four_special_ones(tmp_path):
  content = sentence_pieces(unk_id=0, bos_id=1, eos_id=2)
  (tmp_path / "sentencepiece.bpe.model").write_bytes(content)
  found = tokenizers.load_tokenizer(tmp_path)
  pieces = sentencepiece.SentencePieceProcessor(model_proto=content)
  raw = pieces.encode("the dog 漢")
  assert 0 in raw
  moved = [number + 1 if number else 3 for number in raw]
  assert found.encode("the dog 漢").tolist() == moved
  assert found.encode_for_model("the dog 漢").tolist() == [0, *moved, 2]
  assert found.mask == found.vocab - 1 == pieces.get_piece_size() + 1
  assert found.decode(found.encode_for_model("the cat")) == "the cat"


def test_a_saved_tokenizer_is_the_same(tmp_path):
  byte_level(tmp_path)
  found = tokenizers.load_tokenizer(tmp_path)
  found.save(tmp_path / "again")
  assert tokenizers.load_tokenizer(tmp_path / "again").hash == found.hash


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model"])
def test_a_missing_or_damaged_tokenizer_is_one_sentence(tmp_path, name):
  with pytest.raises(UserError, match=r"has no tokenizer: none of tokenizer\.json"):
    tokenizers.load_tokenizer(tmp_path)
  (tmp_path / name).write_bytes(b"{}?")
  with pytest.raises(UserError, match=f"{name} is damaged") as caught:
    tokenizers.load_tokenizer(tmp_path)
  assert "\n" not in str(caught.value)


def test_text_that_looks_like_a_special_token_stays_text(tmp_path):
  byte_level(tmp_path)
  found = tokenizers.load_tokenizer(tmp_path)
  ids = found.encode("a <|endoftext|> cat")
  assert found.eos not in ids.tolist() and found.decode(ids) == "a <|endoftext|> cat"
  word_pieces(tmp_path)
  found = tokenizers.load_tokenizer(tmp_path)
  ids = found.encode_for_model("a [MASK] cat").tolist()
  assert found.mask not in ids and (ids[0], ids[-1]) == (found.cls, found.sep)
