import itertools
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gen.config import Data
from gen.data.corpus import Corpus
from gen.data.tokenizers import subwords, tokenizer
from gen.errors import UserError

SYLLABLES = (
  "qu",
  "ick",
  "bro",
  "wn",
  "fo",
  "x",
  "ju",
  "mp",
  "żó",
  "łw",
  "na",
  "ïve",
  "ta",
  "le",
  "ri",
  "ver",
)
WORDS = [
  f"The {a + b} {b + c}s of 19{i % 100} — don't <mask>   {c + a}ing {a + c + b}\n\tindented {b + a}er\n"
  for i, (a, b, c) in enumerate(itertools.islice(itertools.permutations(SYLLABLES, 3), 0, 3000, 10))
]
ODD = [
  "", "\0", "a\0b", "\u2581", "a\u2581 \u2581b", "\u2581\u2581", " ",
  "   lead", "trail   ", "a  b   c", "\n\n", "\t\r\n",
  "\u0301alone", "\ufeffbom", "\ufffd", "\ufffe\uffff", "\U0010ffff", "\u2585", "\u2047", "👩‍👩‍👧",
  "<s></s><unk><pad><0x41>",
  "<mask><cls><sep><extra_id_0>", "\u2028\u2029\x0b\x0c\x1c", "ﬁ ½ Å", "\u00a0\u3000",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained():
  return {kind: subwords.train_subwords(WORDS, kind, 400) for kind in ("bpe", "unigram")}


@pytest.fixture(params=["bytes", "bpe", "unigram"])
def any_tokenizer(request, trained):
  return tokenizer.ByteTokenizer() if request.param == "bytes" else trained[request.param]


texts = st.text() | st.lists(st.sampled_from([*ODD, "quick", "fox", " the "])).map("".join)


@settings(max_examples=150)
@given(text=texts)
def test_text_comes_back_whatever_it_is(trained, text):
  for each in (tokenizer.ByteTokenizer(), *trained.values()):
    ids = each.encode(text)
    assert each.decode(ids) == text
    assert ids.dtype == np.int32
    # No text id is special, and what they stand for adds up.
    assert ((ids >= 4) & (ids < each.text_vocab)).all()
    assert each.byte_lengths[ids].sum() == len(text.encode())


@pytest.mark.parametrize("text", ODD)
def test_odd_text_comes_back(any_tokenizer, text):
  assert any_tokenizer.decode(any_tokenizer.encode(text)) == text


@settings(max_examples=30)
@given(batch=st.lists(texts, max_size=5))
@example(batch=ODD)
def test_a_batch_encodes_like_its_texts_one_by_one(trained, batch):
  for each in (tokenizer.ByteTokenizer(), *trained.values()):
    for ids, text in zip(each.encode_batch(batch, threads=2), batch, strict=True):
      assert ids.tolist() == each.encode(text).tolist()


def test_ids_lie_as_the_page_says(any_tokenizer):
  each = any_tokenizer
  assert (each.pad, each.eos, each.unk, each.bos) == (0, 1, 2, 3)
  special = [each.cls, each.sep, each.mask, *(each.sentinel(i) for i in range(100))]
  assert special == list(range(each.text_vocab, each.vocab))
  assert each.text_vocab == (260 if each.kind == "bytes" else 400)
  assert each.byte_lengths.shape == (each.vocab,)
  assert each.byte_lengths[[0, 1, 2, 3, *special]].tolist() == [0] * 107
  assert (each.byte_lengths[4 : each.text_vocab] > 0).all()
  with pytest.raises(ValueError, match="100"):
    each.sentinel(100)


def test_special_ids_are_dropped_or_shown_but_never_read_from_text(any_tokenizer):
  each = any_tokenizer
  ids = [
    each.bos,
    *each.encode("fox"),
    each.mask,
    each.sentinel(7),
    each.cls,
    each.sep,
    each.unk,
    each.eos,
    each.pad,
  ]
  assert each.decode(ids) == "fox"
  shown = "<s>fox<mask><extra_id_7><cls><sep><unk></s><pad>"
  assert each.decode(ids, keep_special=True) == shown
  assert not {i for i in each.encode(shown).tolist() if each.is_special(i)}


def test_ids_that_make_no_utf8_are_shown_as_replacement(any_tokenizer):
  half = any_tokenizer.encode("é\0")[:1] if any_tokenizer.kind == "bytes" else [4 + 0xC3]
  assert any_tokenizer.decode(half) == "\ufffd"
  with pytest.raises(ValueError, match="does not exist"):
    any_tokenizer.decode([any_tokenizer.vocab])
  with pytest.raises(ValueError, match="does not exist"):
    any_tokenizer.decode([-1])


def test_half_a_surrogate_pair_is_the_users_to_mend(any_tokenizer):
  for text in ("\ud800", "fine \udfff", "\u2581\ud83d"):
    with pytest.raises(UserError, match=r"surrogate pair \(U\+D"):
      any_tokenizer.encode(text)


def test_training_shortens_text(trained):
  text = WORDS[0]
  for each in trained.values():
    assert len(each.encode(text)) < len(text.encode()) / 1.5


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_training_twice_gives_the_same_tokenizer(trained, kind):
  again = subwords.train_subwords(WORDS, kind, 400)
  assert again.hash == trained[kind].hash
  assert subwords.train_subwords(WORDS[:-20], kind, 400).hash != again.hash


def test_training_sees_lines_that_hold_sentencepieces_own_marks():
  marked = [f"\0\t\u2581\u2585 extraordinary{mark}" for mark in "\0\t\u2581\u2585"] * 9
  found = subwords.train_subwords([*WORDS, *marked], "bpe", 420)
  assert len(found.encode("extraordinary")) < 6


def test_a_sample_is_fixed_and_no_larger_than_asked():
  parts = list(subwords.sample_documents(WORDS, 500))
  assert parts == list(subwords.sample_documents(WORDS, 500))
  assert sum(map(len, parts)) == 500
  assert sorted(subwords.sample_documents(WORDS, 10**9)) == sorted(WORDS)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_vocabulary_that_the_text_cannot_fill_is_refused_with_the_largest(kind):
  with pytest.raises(UserError, match=r"data\.vocab 100000 is too large .* at most (\d+)") as refused:
    subwords.train_subwords(WORDS, kind, 100_000)
  most = int(str(refused.value).split()[-1])
  assert subwords.train_subwords(WORDS, kind, most).text_vocab == most
  with pytest.raises(UserError, match=f"at most {most}"):
    subwords.train_subwords(WORDS, kind, most + 1)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("vocab", [-5, 0, 3, 260, 270])
def test_a_vocabulary_below_bytes_and_characters_is_refused(kind, vocab):
  with pytest.raises(UserError, match=rf"data\.vocab {vocab} is too small .* at least \d+|cannot be trained"):
    subwords.train_subwords(WORDS, kind, vocab)


def test_a_saved_tokenizer_is_the_same_when_loaded(any_tokenizer, tmp_path):
  any_tokenizer.save(tmp_path / "deep" / "er")
  loaded = tokenizer.load_tokenizer(tmp_path / "deep" / "er")
  assert (loaded.hash, loaded.kind, loaded.vocab) == (
    any_tokenizer.hash,
    any_tokenizer.kind,
    any_tokenizer.vocab,
  )
  assert loaded.encode(WORDS[0]).tolist() == any_tokenizer.encode(WORDS[0]).tolist()


def test_a_tokenizer_that_was_altered_or_is_missing_is_refused(trained, tmp_path):
  with pytest.raises(UserError, match="there is no tokenizer"):
    tokenizer.load_tokenizer(tmp_path)
  trained["bpe"].save(tmp_path)
  description = json.loads((tmp_path / tokenizer.DESCRIPTION).read_text())
  (tmp_path / tokenizer.DESCRIPTION).write_text(json.dumps(description | {"hash": "0" * 16}))
  with pytest.raises(UserError, match="was changed"):
    tokenizer.load_tokenizer(tmp_path)
  (tmp_path / tokenizer.MODEL).write_bytes(b"not a model")
  with pytest.raises(UserError, match="damaged"):
    tokenizer.load_tokenizer(tmp_path)


def corpus_of(words):
  return Corpus("words", words, words[:1], len(words), 0, 0, "sha" + str(len(words)), 0.0)


def test_training_is_cached_by_content_kind_and_size(tmp_path):
  lines = []
  data = Data(tokenizer="bpe", vocab=390, cache=str(tmp_path))
  first = tokenizer.tokenizer_for_data(data, corpus_of(WORDS), lines.append)
  assert tokenizer.tokenizer_for_data(data, corpus_of(WORDS), lines.append).hash == first.hash
  assert [line.endswith("found in the cache") for line in lines] == [False, True]
  others = [
    tokenizer.tokenizer_for_data(Data(tokenizer="bpe", vocab=391, cache=str(tmp_path)), corpus_of(WORDS)),
    tokenizer.tokenizer_for_data(Data(tokenizer="unigram", vocab=390, cache=str(tmp_path)), corpus_of(WORDS)),
    tokenizer.tokenizer_for_data(data, corpus_of(WORDS[:-20])),
    tokenizer.tokenizer_for_data(Data(tokenizer="bytes", cache=str(tmp_path)), corpus_of(WORDS)),
  ]
  assert len({first.hash, *(other.hash for other in others)}) == 5


def test_an_unknown_kind_is_the_users_to_mend(tmp_path):
  with pytest.raises(UserError, match="must be bytes, bpe or unigram"):
    tokenizer.tokenizer_for_data(Data(tokenizer="words", cache=str(tmp_path)), corpus_of(WORDS))
