"""Hostile and damaged files of tokenizers end in one sentence, in bounded time and memory."""

import base64
import json
import subprocess
import time

import pytest
import tokenizers as library

from gen.errors import UserError
from gen.interop import tokenizers
from gen.interop.untrusted import limits, patterns, trial
from tests import hostile, mutations
from tests.interop.tokenizers.test_tokenizer_files import bert, gpt2, pieces

IN_USE = {
  "GPT-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
  "Llama 3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
  r"|\s+(?!\S)|\s+",
  "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll)?"
  r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
  "BLOOM": r" ?[^(\s|[.,!?…。，、।۔،])]+",
  "Kimi": r"[\p{Han}]+|[\p{Lu}\p{Lo}&&[^\p{Han}]]*[\p{Ll}\p{M}&&[^\p{Han}]]+",
  "spaces": r" {2,}",
  "groups of three digits": r"(?=(\d{3})+(?!\d))",
  "words with hyphens": r"\w+(?:['-]\w+)?|[a-z]+(?:-[a-z]+)*",
  "ends of lines": r"(?:\r?\n)+(?!\r?\n)",
}
CATASTROPHIC = [
  r"(a+)+$", r"(a|a)*b", r"(a|aa)+$", r"(.*)*x", r"((a+)b?)+", r"a+*", r"(\w+\s?)+$", r"(a?){30}a{30}",
  r"(?:-+\w*)+", r"(?:a+b?)*", r"(?:b?a+)*c", r"(?:-[\w-]+)+x", r"(?:A\w+)+x", r"(?i)(?:a[b-z&&\w]*A?)+x",
  "a?" * 30 + "a" * 30, r".*.*.*.*.*.*x", r"(?:a{1,50}){1,50}b", r"([a-z]|[a-m])+$", r"(a)\1", r"(?<x>a\g<x>?b)",
]  # fmt: skip
BROKEN = ["(a", "[a", "a)", "\\", "(?(1)a|b)", "(?~abc)", "a{1000000}", "(" * 50 + "a" + ")" * 50, "[" * 5000]


@pytest.mark.parametrize("name", IN_USE)
def test_patterns_in_use_are_accepted(name):
  shortest = {"spaces": 2, "groups of three digits": 0}.get(name, 1)
  assert patterns.check_pattern(IN_USE[name]) == shortest


@pytest.mark.parametrize("pattern", CATASTROPHIC + BROKEN, ids=lambda pattern: pattern[:20])
def test_patterns_that_can_take_any_time_are_refused(pattern):
  with pytest.raises(patterns.PatternError) as caught:
    patterns.check_pattern(pattern)
  assert "\n" not in str(caught.value)


def test_the_least_that_a_pattern_matches_is_counted():
  for pattern, least in {
    " {2,}": 2,
    "a|bcd": 1,
    "x*": 0,
    r"\s+(?!\S)": 1,
    "(?:ab){3}": 6,
    "^$": 0,
    "[a-c]?b": 1,
  }.items():
    assert patterns.check_pattern(pattern) == least, pattern


def described(**parts):
  """Returns a tokenizer.json over four letters, with other parts."""
  ids = {name: number for number, name in enumerate(("[CLS]", "[SEP]", "A", "C", "G", "T", "AC"))}
  made = library.Tokenizer(library.models.BPE(ids, [("A", "C")]))
  made.add_special_tokens(["[CLS]", "[SEP]"])
  made.post_processor = library.processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
  )
  return json.loads(made.to_str()) | parts


def model(**changes):
  return described(model=described()["model"] | changes)


def vocab(**ids):
  return model(vocab=described()["model"]["vocab"] | ids)


def replaced(pattern, content):
  return {"type": "Replace", "pattern": pattern, "content": content}


def nested(kind, key, depth, inside):
  for _ in range(depth):
    inside = {"type": kind, key: [inside]}
  return inside


def of_normalizers(*parts):
  return described(normalizer={"type": "Sequence", "normalizers": list(parts)})


def split(pattern):
  return described(
    pre_tokenizer={"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
  )


MANY = described()["post_processor"] | {"single": [{"Sequence": {"id": "A", "type_id": 0}}] * 999}
FAR = {"type": "Strip", "content": "A", "start": 2**60, "stop": 2**60}
TABLE = (4).to_bytes(4, "little") + bytes(4) + b"x" * 9999 + b"\0"
HOSTILE = {
  "a letter becomes a million": (of_normalizers(replaced({"String": "A"}, "A" * 10**6)), "65,537 times as long"),
  "a letter doubles forty times": (of_normalizers(*[replaced({"String": "A"}, "AA")] * 40), "times as long or more"),
  "a text is put everywhere": (of_normalizers(replaced({"Regex": "x*"}, "y" * 999)), "1,333 times as long"),
  "bytes become letters sixty times": (of_normalizers(*[{"type": "ByteLevel"}] * 60), "times as long"),
  "a long prefix": (of_normalizers({"type": "Prepend", "prepend": "x" * 10**6}), "prepend of 1,000,000 characters"),
  "a long decoding": (described(decoder=replaced({"String": "A"}, "A" * 10**6)), "its decoder can make"),
  "a table that multiplies": (
    of_normalizers({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(TABLE).decode()}),
    "replaces one of them by 9,999 bytes",
  ),
  "exponential time": (split("(a+)+$"), "exponential"),
  "a deep nest of normalizers": (described(normalizer=nested("Sequence", "normalizers", 60, {"type": "NFC"})), "deep"),
  "a negative id": (vocab(A=-1), "gives 'A' the id -1"),
  "a huge id": (vocab(A=2**40), "gives 'A' the id 1099511627776"),
  "a large id": (vocab(A=4 * 10**9), "gives 'A' the id 4000000000"),
  "an id twice": (vocab(A=3), "gives the id 3 to 'A' and to 'C'"),
  "no whole id": (vocab(A=2.5), "gives 'A' the id 2.5"),
  "a long piece": (vocab(**{"A" * 10**5: 9}), "a piece of 100,000 characters"),
  "a large word": (model(type="WordPiece", max_input_chars_per_word=10**9), "max_input_chars_per_word"),
  "a long template": (
    described(post_processor=MANY),
    "adds 999 parts to",
  ),
  "a model that is a list": (described(model=[1]), "its model is not an object"),
}  # fmt: skip
OF_THE_LIBRARY = {
  "cubic time": (split("A*A*A*x"), "takes more than|retry-limit"),
  "merges of an unknown piece": (model(merges=[["A", "Z"]]), "Token `Z` out of vocabulary"),
  "merges shorter than their prefix": (model(continuing_subword_prefix="AAAAA"), "out of range"),
  "an unknown model": (described(model={"type": "Evil"}), "ModelUntagged"),
  "a decoder past all ends": (described(decoder=FAR), "index"),
}  # fmt: skip


def test_replacements_that_do_not_touch_one_another_do_not_multiply():
  marks = {"\n": "<|newline|>", "\t": "<|tab|>", "\r": "<|return|>", " ": "\u2581"}
  parts = [replaced({"String": letter}, mark) for letter, mark in marks.items()]
  limits.check_json(json.dumps(of_normalizers(*parts, replaced({"Regex": "[0-9]"}, "<digit>"))).encode())
  with pytest.raises(limits.LimitError, match="times as long"):
    limits.check_json(json.dumps(of_normalizers(*parts, replaced({"Regex": "[a-z]"}, "<<letter>>"))).encode())


@pytest.mark.parametrize(("content", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_what_no_tokenizer_needs_is_refused_before_a_library_reads_it(content, sentence):
  with pytest.raises(limits.LimitError, match=sentence) as caught:
    limits.check_json(json.dumps(content).encode())
  assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(("content", "sentence"), OF_THE_LIBRARY.values(), ids=OF_THE_LIBRARY)
def test_what_a_library_fails_at_is_one_sentence_of_another_process(tmp_path, content, sentence, capfd):
  path = tmp_path / "tokenizer.json"
  path.write_text(json.dumps(content))
  with pytest.raises(
    UserError, match=f"tokenizer.json is damaged or not trustworthy: .*({sentence})"
  ) as caught:
    tokenizers.load_tokenizer(tmp_path)
  assert "\n" not in str(caught.value) and "panicked" not in capfd.readouterr().err


def test_memory_is_bounded(tmp_path):
  limit = trial._in_child  # the same file, with less memory than reading it takes
  assert limit("tokenizer.json", json.dumps(described()).encode()) is None
  many = json.dumps(described(extra=[{"a": [number]} for number in range(10**5)])).encode()
  trial_memory, trial.MEMORY = trial.MEMORY, -3 * len(many)
  try:
    assert "bytes" in limit("tokenizer.json", many)
  finally:
    trial.MEMORY = trial_memory


def test_large_files_are_refused_unread(tmp_path):
  for name in ("tokenizer.json", "spiece.model", "vocab.txt"):
    with (tmp_path / name).open("wb") as file:
      file.truncate(2**30)
    with pytest.raises(UserError, match=f"{name} has 1,073,741,824 bytes, more than"):
      tokenizers.load_tokenizer(tmp_path)
    (tmp_path / name).unlink()


def test_ids_that_the_library_would_move_are_refused(tmp_path):
  content = described()
  content["added_tokens"].append(content["added_tokens"][0] | {"content": "<new>", "id": 900})
  (tmp_path / "tokenizer.json").write_text(json.dumps(content))
  with pytest.raises(UserError, match="gives the added token '<new>' the id 900, and the library 7"):
    tokenizers.load_tokenizer(tmp_path)


def test_a_text_has_one_encoding_where_training_dropped_merges(tmp_path):
  (tmp_path / "tokenizer.json").write_text(json.dumps(model(dropout=0.9)))
  found = tokenizers.load_tokenizer(tmp_path)
  assert {tuple(found.encode("ACAC").tolist()) for _ in range(20)} == {(6, 6)}


def test_a_sentence_piece_model_that_multiplies_is_refused(tmp_path):
  pieces(tmp_path)
  path = tmp_path / "spiece.model"
  inner = b"\x12" + varint(len(TABLE)) + TABLE
  path.write_bytes(path.read_bytes() + b"\x1a" + varint(len(inner)) + inner)
  with pytest.raises(UserError, match="replaces one of them by 9,999 bytes"):
    tokenizers.load_tokenizer(tmp_path)


def varint(number):
  return bytes([number & 0x7F | (0x80 if number > 0x7F else 0)]) + (
    varint(number >> 7) if number > 0x7F else b""
  )


def test_damaged_files_of_tokenizers_end_in_one_sentence_or_read(fuzz, tmp_path):
  (tmp_path / "json").mkdir()
  (tmp_path / "json" / "tokenizer.json").write_text(json.dumps(described()))
  gpt2(
    tmp_path / "bpe",
    tokenizer_config={"add_bos_token": False, "added_tokens_decoder": {"264": {"content": "{"}}},
  )
  bert(tmp_path / "words", never_split=["it's"], do_lower_case=True)
  pieces(tmp_path / "pieces", options={"extra_ids": 7, "eos_token": {"content": "</s>"}}, added={"{": 9})
  paths = [path for folder in sorted(tmp_path.iterdir()) for path in sorted(folder.iterdir())]
  contents = {path: path.read_bytes() for path in paths}

  def damages(rng):
    for path in rng.sample(paths, len(paths)):
      mixed = [
        *mutations.mixed(contents[path], rng),
        *(mutations.flipped(contents[path], rng) for _ in range(4)),
      ]
      yield from ((path, *damage) for damage in rng.sample(mixed, 4))

  for path, name, damaged in fuzz.cases(damages):
    path.unlink() if damaged is None else path.write_bytes(damaged)
    check_one(path.parent, f"{path.relative_to(tmp_path)} {name}")
    path.write_bytes(contents[path])


def check_one(folder, name):
  """Loads a tokenizer and uses it; whatever it raises must be one sentence."""
  begin = time.process_time()
  try:
    found = tokenizers.load_tokenizer(folder)
    found.frame()
    for text in ("ACGT the cat { größer 漢\n", "", " " * 300):
      found.decode(found.encode_for_model(text), keep_special=True)
      found.encode(text)
  except UserError as error:
    assert "\n" not in str(error) and len(str(error)) < 1000, name
  except BaseException as error:
    raise AssertionError(name) from error
  assert time.process_time() - begin < 5, name


def test_a_sentence_piece_model_larger_than_any_in_use_is_refused_untried():
  with pytest.raises(UserError, match=r"spiece\.model has 16,777,217 bytes, more than the 16,777,216"):
    trial.require_safe("spiece.model", bytes(trial.MAX_MODEL + 1), "spiece.model")


def test_fields_without_end_are_refused_soon():
  for unit in (b"\0", b"\x08\x01", b"\x0a\x02ab"):
    content = unit * ((15 << 20) // len(unit))
    assert "more than 1,048,576 fields" in hostile.outcome(
      lambda content=content: trial.require_safe("spiece.model", content, "spiece.model"), len(content)
    )


def test_no_size_of_a_file_gives_it_more_time(monkeypatch):
  asked = []
  monkeypatch.setattr(
    trial.subprocess,
    "run",
    lambda command, **_: asked.append(int(command[5])) or subprocess.CompletedProcess(command, 0, b"{}"),
  )
  for size in (9, 5 << 20, 60 << 20):
    trial._in_child("tokenizer.json", bytes(size))
  assert asked == [2, 3, 4]
