"""Tokenizers without tokenizer.json, and what stands beside any: added tokens, sentinels, roles, options."""

import io
import json
import unicodedata

import pytest
import sentencepiece
import tokenizers as library

from gen.errors import UserError
from gen.interop import tokenizers
from gen.interop.tokenizers.json_file import byte_letters

WORDS = ["the", "cat", "sat", "on", "the", "mat", "{", "and", "}", "größer,", "naïve", "3.14", "漢字"]
TEXTS = [" ".join(WORDS), "a dog and a cat", "the end of the text"] * 20
MERGES = ["t h", "th e", "c a", "ca t", "Ġ the", "Ġ cat", "o n"]


def write(folder, **files):
  """Writes files; a name's underscores but the first part's become dots where JSON or text is meant."""
  folder.mkdir(exist_ok=True)
  for name, content in files.items():
    path = folder / (name + (".txt" if isinstance(content, str) else ".json"))
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
  return folder


def byte_vocab(special):
  """Returns a vocabulary of special tokens, the letters of bytes, and the merged pieces."""
  return {
    name: number
    for number, name in enumerate([*special, *byte_letters(), *(m.replace(" ", "") for m in MERGES)])
  }


def gpt2(folder, special=("<|endoftext|>",), **files):
  return write(
    folder, vocab=byte_vocab(special), merges="#version: 0.2\n" + "\n".join(MERGES) + "\n", **files
  )


def merged(word, vocab):
  """Returns the ids of one word by the plainest BPE."""
  letter_of = {byte: letter for letter, byte in byte_letters().items()}
  pieces = [letter_of[byte] for byte in word.encode()]
  for merge in MERGES:
    left, right = merge.split()
    place = 0
    while place + 1 < len(pieces):
      if pieces[place : place + 2] == [left, right]:
        pieces[place : place + 2] = [left + right]
      place += 1
  return [vocab[piece] for piece in pieces]


def test_vocab_json_and_merges_are_the_byte_level_bpe_of_gpt2(tmp_path):
  found = tokenizers.load_tokenizer(gpt2(tmp_path))
  vocab = byte_vocab(["<|endoftext|>"])
  wanted = [number for word in ("the", " cat", " on", " größer", " 漢") for number in merged(word, vocab)]
  assert found.encode("the cat on größer 漢").tolist() == wanted
  assert found.decode(wanted) == "the cat on größer 漢"
  assert found.frame() == ((), ()) and found.eos == found.bos == found.unk == 0 and found.pad is None


@pytest.mark.parametrize(
  "beside",
  [{"config": {"model_type": "bart"}}, {"tokenizer_config": {"tokenizer_class": "RobertaTokenizerFast"}}, {}],
)
def test_roberta_and_bart_frame_a_text_and_its_pair(tmp_path, beside):
  found = tokenizers.load_tokenizer(gpt2(tmp_path, ("<s>", "<pad>", "</s>", "<unk>", "<mask>"), **beside))
  first, second = found.encode("the cat").tolist(), found.encode("on").tolist()
  assert found.frame() == ((0,), (2,))
  assert found.encode_for_model("the cat", "on").tolist() == [0, *first, 2, 2, *second, 2]
  assert (found.pad, found.unk, found.mask) == (1, 3, 4)


def test_options_of_gpt2_are_read(tmp_path):
  options = {"add_prefix_space": True, "add_bos_token": True, "tokenizer_class": "GPT2Tokenizer"}
  found = tokenizers.load_tokenizer(gpt2(tmp_path, tokenizer_config=options))
  assert found.decode(found.encode("cat")) == " cat" and found.frame() == ((0,), ())


def bert(
  folder,
  words=("the", "cat", "##s", "o", "##on", "na", "##ive", "größer", "grosser", "漢", "字", "漢字", "it's"),
  **options,
):
  lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", *words]
  write(
    folder, vocab="\n".join(lines) + "\n", tokenizer_config={"tokenizer_class": "BertTokenizer"} | options
  )
  return tokenizers.load_tokenizer(folder), {line: number for number, line in enumerate(lines)}


def test_vocab_txt_is_the_word_piece_of_bert(tmp_path):
  found, ids = bert(tmp_path)
  wanted = [ids[name] for name in ("the", "cat", "##s", ",", "o", "##on", "[UNK]", "na", "##ive", "漢", "字")]
  assert found.encode("The CATs, Oon zebra naïve漢字").tolist() == wanted
  assert found.encode_for_model("cat", "the").tolist() == [2, ids["cat"], 3, ids["the"], 3]
  assert (found.pad, found.unk, found.cls, found.sep, found.mask) == (0, 1, 2, 3, 4)


def test_options_of_bert_are_read(tmp_path):
  for folder, options, text, names in (
    ("cased", {"do_lower_case": False}, "Cat cat", ("[UNK]", "cat")),
    ("accents", {"strip_accents": False}, "Größer naïve", ("größer", "[UNK]")),
    (
      "stripped",
      {"strip_accents": True, "do_lower_case": False},
      unicodedata.normalize("NFD", "naïve"),
      ("na", "##ive"),
    ),
    ("chinese", {"tokenize_chinese_chars": False}, "漢字", ("漢字",)),
    ("never", {"never_split": ["it's"]}, "cat it's", ("cat", "it's")),
    ("basic", {"do_basic_tokenize": False}, "cat it's\x1cCat", ("cat", "it's", "[UNK]")),
  ):
    found, ids = bert(tmp_path / folder, **options)
    assert found.encode(text).tolist() == [ids[name] for name in names], folder
    found.save(tmp_path / "again" / folder)
    again = tokenizers.load_tokenizer(tmp_path / "again" / folder)
    assert again.hash == found.hash and again.encode(text).tolist() == found.encode(text).tolist()


def test_byt5_needs_no_file(tmp_path):
  found = tokenizers.load_tokenizer(
    write(tmp_path, config={"model_type": "t5", "tokenizer_class": "ByT5Tokenizer"})
  )
  text = "größer 漢\0"
  assert found.encode(text).tolist() == [3 + byte for byte in text.encode()] and found.vocab == 384
  assert (
    found.encode_for_model("a", "b").tolist() == [100, 1, 101, 1] and found.decode(found.encode(text)) == text
  )
  assert (
    found.sentinel(0) == 259
    and found.name(383) == "<extra_id_124>"
    and (found.pad, found.eos, found.unk) == (0, 1, 2)
  )
  found.save(tmp_path / "again")
  assert tokenizers.load_tokenizer(tmp_path / "again").hash == found.hash
  other = write(tmp_path / "other", tokenizer_config={"tokenizer_class": "ByT5Tokenizer", "extra_ids": 7})
  assert tokenizers.load_tokenizer(other).vocab == 266 and tokenizers.load_tokenizer(other).hash != found.hash


def pieces(folder, name="spiece.model", options=None, added=None, **training):
  """Writes a SentencePiece model; returns how many pieces it has."""
  content = io.BytesIO()
  training = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 60} | training
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(text.translate({ord("{"): None, ord("}"): None}) for text in TEXTS),
    model_writer=content, hard_vocab_limit=False, minloglevel=2, **training,
  )  # fmt: skip
  folder.mkdir(exist_ok=True)
  (folder / name).write_bytes(content.getvalue())
  size = sentencepiece.SentencePieceProcessor(model_proto=content.getvalue()).get_piece_size()
  write(folder, tokenizer_config=options or {})
  if added:
    write(folder, added_tokens={token: size + number for token, number in added.items()})
  return size


@pytest.mark.parametrize("count", [0, 96, 384])
def test_t5_has_as_many_sentinels_as_its_config_says(tmp_path, count):
  size = pieces(tmp_path, options={"tokenizer_class": "T5Tokenizer", "extra_ids": count})
  found = tokenizers.load_tokenizer(tmp_path)
  assert found.vocab == size + count
  if count:
    assert found.sentinel(0) == found.vocab - 1 and found.sentinel(count - 1) == size
  with pytest.raises(ValueError, match=f"sentinel {count} does not exist"):
    found.sentinel(count)


def test_named_sentinels_are_counted_where_no_number_is_given(tmp_path):
  names = [f"<extra_id_{index}>" for index in range(5)]
  size = pieces(tmp_path, options={"tokenizer_class": "T5Tokenizer", "additional_special_tokens": names})
  assert tokenizers.load_tokenizer(tmp_path).vocab == size + 5


def test_mt5s_sentinels_are_pieces_of_its_model(tmp_path):
  size = pieces(tmp_path, options={"extra_ids": 0}, user_defined_symbols=["<extra_id_1>", "<extra_id_0>"])
  found = tokenizers.load_tokenizer(tmp_path)
  assert (
    found.vocab == size and found.is_special(found.sentinel(1)) and found.sentinel(0) == found.sentinel(1) + 1
  )


def test_added_tokens_cut_a_text_before_sentence_pieces_do(tmp_path):
  size = pieces(tmp_path, added={"{": 103, "}": 104, "\n": 105, "{{": 110})
  found = tokenizers.load_tokenizer(tmp_path)
  ids = [found.encode(word).tolist() for word in ("the", "cat", "sat")]
  assert found.vocab == size + 111
  assert found.encode("the { cat }\nsat{{").tolist() == [
    *ids[0], size + 103, *ids[1], size + 104, size + 105, *ids[2], size + 110
  ]  # fmt: skip
  assert (
    found.name(size + 103) == "{" and found.decode([size + 103]) == "{" and found.decode([size + 107]) == ""
  )
  assert found.decode(found.encode("the { cat }")) == "the { cat }"
  assert found.byte_lengths[size + 110] == 2 and not found.is_special(size + 103)
  found.save(tmp_path / "again")
  again = tokenizers.load_tokenizer(tmp_path / "again")
  assert again.hash == found.hash and again.encode("{ cat").tolist() == found.encode("{ cat").tolist()
  (tmp_path / "added_tokens.json").unlink()
  assert tokenizers.load_tokenizer(tmp_path).hash != found.hash


def test_flags_of_added_tokens_are_kept(tmp_path):
  size = pieces(tmp_path)
  flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False}
  decoder = {
    str(size + 100): flags | {"content": "cat", "single_word": True},
    str(size + 101): flags | {"content": "<|user|>", "special": True},
    str(size + 102): flags | {"content": "\n", "lstrip": True, "rstrip": True},
  }
  write(tmp_path, tokenizer_config={"added_tokens_decoder": decoder})
  found = tokenizers.load_tokenizer(tmp_path)
  assert size + 100 in found.encode("the cat sat").tolist()
  assert size + 100 not in found.encode("the cats").tolist()
  assert found.encode("the \n\n sat").tolist() == [*found.encode("the"), size + 102, *found.encode("sat")]
  assert found.is_special(size + 101) and size + 101 not in found.encode("<|user|>").tolist()
  assert found.name(size + 101) == "<|user|>" and found.decode([size + 101]) == ""


def test_tokens_added_beside_tokenizer_json_follow_its_vocabulary(tmp_path):
  gpt2(tmp_path / "old")
  tokenizers.load_tokenizer(tmp_path / "old").save(tmp_path)
  plain = tokenizers.load_tokenizer(tmp_path)
  write(
    tmp_path,
    added_tokens={"<|user|>": plain.vocab + 1, "[PAD]": plain.vocab},
    special_tokens_map={"pad_token": "[PAD]"},
  )
  found = tokenizers.load_tokenizer(tmp_path)
  assert found.vocab == plain.vocab + 2 and found.pad == plain.vocab and found.is_special(found.pad)
  assert found.encode("<|user|>").tolist() == [plain.vocab + 1] and found.hash != plain.hash
  write(tmp_path, added_tokens={"<|user|>": plain.vocab + 9})
  with pytest.raises(UserError, match=rf"'<\|user\|>' has the id {plain.vocab + 9} beside tokenizer.json"):
    tokenizers.load_tokenizer(tmp_path)


def test_tokens_added_beside_older_files_keep_their_ids(tmp_path):
  vocab = len(byte_vocab(["<|endoftext|>"]))
  for number, name in enumerate(("next", "later")):
    place = vocab + 7 * number
    found = tokenizers.load_tokenizer(
      gpt2(tmp_path / name, added_tokens={"<|user|>": place, "[PAD]": place + 1})
    )
    assert found.encode("<|user|>").tolist() == [place] and found.vocab == place + 2
    assert found.name(place + 1) == "[PAD]"


def test_roles_may_be_objects_and_the_map_of_older_files_wins(tmp_path):
  pieces(tmp_path, options={"eos_token": {"content": "the", "lstrip": False}, "mask_token": "</s>"})
  write(
    tmp_path,
    special_tokens_map={"eos_token": {"content": "</s>", "normalized": True}, "cls_token": "missing"},
  )
  found = tokenizers.load_tokenizer(tmp_path)
  assert found.eos == found.mask == 1 and found.cls is None


def test_llamas_model_begins_a_text(tmp_path):
  pieces(
    tmp_path,
    "tokenizer.model",
    pad_id=-1,
    unk_id=0,
    bos_id=1,
    eos_id=2,
    model_type="bpe",
    byte_fallback=True,
    vocab_size=340,
  )
  found = tokenizers.load_tokenizer(tmp_path)
  assert found.frame() == ((1,), ()) and found.encode_for_model("the cat").tolist() == [
    1,
    *found.encode("the cat"),
  ]
  write(tmp_path, tokenizer_config={"add_bos_token": False, "add_eos_token": True})
  assert tokenizers.load_tokenizer(tmp_path).frame() == ((), (2,))


@pytest.mark.parametrize(
  ("files", "sentence"),
  [
    ({"tokenizer_config": {"extra_ids": -1}}, "extra_ids -1 is not allowed"),
    ({"tokenizer_config": {"extra_ids": 2**40}}, "extra_ids 1099511627776 is not allowed"),
    ({"tokenizer_config": {"extra_ids": "100"}}, "extra_ids holds text where a whole number"),
    ({"tokenizer_config": {"eos_token": 3}}, "eos_token holds a whole number where an object"),
    ({"tokenizer_config": {"eos_token": {"lstrip": True}}}, "eos_token has no 'content'"),
    ({"tokenizer_config": {"added_tokens_decoder": {"-4": "a"}}}, "gives 'a' the id -4"),
    ({"tokenizer_config": {"added_tokens_decoder": {"9" * 5000: "a"}}}, "gives 'a' the id 999"),
    (
      {"tokenizer_config": {"added_tokens_decoder": [1]}},
      "added_tokens_decoder holds a list where an object",
    ),
    (
      {"tokenizer_config": {"additional_special_tokens": "a"}},
      "additional_special_tokens holds text where a list",
    ),
    ({"added_tokens": {"a": 2**40}}, "gives 'a' the id 1099511627776"),
    ({"added_tokens": {"a": 7.5}}, "gives 'a' the id 7.5"),
    ({"added_tokens": {"a": 900, "b": 900}}, "gives the id 900 to 'a' and to 'b'"),
    ({"special_tokens_map": [1]}, "special_tokens_map.json holds a list where an object"),
    ({"tokenizer_config": {"tokenizer_class": "AlbertTokenizer"}}, "is of the class AlbertTokenizer"),
  ],
)
def test_what_stands_beside_a_tokenizer_is_checked(tmp_path, files, sentence):
  pieces(tmp_path)
  write(tmp_path, **files)
  with pytest.raises(UserError, match=sentence) as caught:
    tokenizers.load_tokenizer(tmp_path)
  assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
  ("files", "sentence"),
  [
    ({"vocab": {"a": 0}}, "has vocab.json and no merges.txt; copy it .*save_pretrained"),
    ({"vocab": {"a": -1}, "merges": ""}, "gives 'a' the id -1"),
    ({"vocab": {"a": 2**40}, "merges": ""}, "gives 'a' the id 1099511627776"),
    ({"vocab": {"a": 1, "b": 1}, "merges": ""}, "gives the id 1 to 'a' and to 'b'"),
    ({"vocab": {"a": "1"}, "merges": ""}, "the id of 'a' holds text"),
    ({"vocab": {}, "merges": ""}, "vocab.json is empty"),
    ({"vocab": {"a": 0}, "merges": "a b\n"}, "no byte-level BPE|damaged"),
    ({"vocab": {"a": 0}, "merges": "#version\na\n"}, "line 2: 'a' is not a merge"),
    ({"vocab": ""}, "vocab.txt is empty"),
    ({"vocab": "a\nb\n"}, "has no '.CLS.', which the tokenizer adds to each text"),
    (
      {"vocab": "a\n", "tokenizer_config": {"tokenizer_class": "EsmTokenizer"}},
      "class EsmTokenizer.*save_pretrained",
    ),
    ({"config": {"model_type": "t5"}}, "has no tokenizer.*save_pretrained"),
  ],
)
def test_older_files_that_cannot_be_read_are_one_sentence(tmp_path, files, sentence):
  write(tmp_path, **files)
  with pytest.raises(UserError, match=sentence) as caught:
    tokenizers.load_tokenizer(tmp_path)
  assert "\n" not in str(caught.value)


def test_a_built_tokenizer_is_the_same_when_the_library_reads_it(tmp_path):
  found = tokenizers.load_tokenizer(gpt2(tmp_path / "old"))
  found.save(tmp_path)
  assert tokenizers.load_tokenizer(tmp_path).hash == found.hash
  made = library.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
  assert made.encode("the cat, größer").ids == found.encode("the cat, größer").tolist()
