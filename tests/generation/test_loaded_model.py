"""A folder in the Hugging Face format, and the run that it is imported as, are used as a trained run is."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import tokenizers as library

from gen.config import Data, Model, Run
from gen.data import dataset
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.evaluation import attention_maps
from gen.generation import loaded_model, text
from gen.generation.decoding.sampling import GREEDY
from gen.interop import huggingface, runs
from gen.training import loop

FIXTURES = Path(__file__).parents[1] / "interop" / "fixtures"
KEY = jax.random.key(0)
WORDS = ("a", "the", "cat", "dog", "sat", "on", "mat", "ran")
# First ids, last ids, and what the model is given of a text $A.
TOKENIZERS = {
  "gpt2": (("<unk>", "<s>", "</s>"), (), ""),
  "bert": (("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), (), "[CLS] $A [SEP]"),
  "t5": (("<pad>", "</s>", "<unk>"), ("<extra_id_1>", "<extra_id_0>"), "$A </s>"),
  "bart": (("<s>", "<pad>", "</s>", "<unk>"), ("<mask>",), "<s> $A </s>"),
}


def write_tokenizer(folder, kind, words=WORDS):
  """Writes the tokenizer.json of a tokenizer of whole words."""
  first, last, frame = TOKENIZERS[kind]
  ids = {word: number for number, word in enumerate((*first, *words, *last))}
  unknown = next(name for name in first if name.lower() in ("<unk>", "[unk]"))
  made = library.Tokenizer(library.models.WordLevel(ids, unk_token=unknown))
  made.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
  made.add_special_tokens([*first, *last])
  if frame:
    marks = [(name, ids[name]) for name in frame.split() if name != "$A"]
    made.post_processor = library.processors.TemplateProcessing(single=frame, special_tokens=marks)
  folder.mkdir(exist_ok=True)
  made.save(str(folder / "tokenizer.json"))


@pytest.fixture
def directory(tmp_path):
  """Returns a function that copies a fixture, with a tokenizer or without."""

  def copy(name, kind=None):
    folder = tmp_path / name
    shutil.copytree(FIXTURES / name, folder, ignore=shutil.ignore_patterns("answers*"))
    if kind:
      write_tokenizer(folder, kind)
    return folder

  return copy


def answer(restored, prompt, **limits):
  ((found,),) = text.stream_answers(restored, [prompt], GREEDY, KEY, **limits)
  return found


def greedy(logits, seen, stop, count):
  """Returns what is written by reading all of the text again for every token."""
  new = []
  while len(new) < count and not set(new[-1:]) & set(stop):
    new.append(int(logits([*seen, *new])[-1].argmax()))
  return new


def test_gpt2_continues_a_text_without_a_mark_before_it(directory):
  folder = directory("gpt2-lm", "gpt2")
  model, params = huggingface.load_checkpoint(folder)
  restored = loaded_model.load_model(folder)
  ids = [4, 5, 7]
  assert text.prompt_ids(restored, "the cat sat").tolist() == ids
  wanted = greedy(lambda seen: huggingface.forward_pass(model, params, [seen])[0], ids, (2,), 6)
  assert answer(restored, "the cat sat", max_tokens=6).tokens.tolist() == wanted


@pytest.mark.parametrize(("name", "kind", "start"), [("t5-lm", "t5", 0), ("bart-lm", "bart", 2)])
def test_an_encoder_decoder_writes_behind_its_start_token(directory, name, kind, start):
  folder = directory(name, kind)
  model, params = huggingface.load_checkpoint(folder)
  restored = loaded_model.load_model(folder)
  ids = text.prompt_ids(restored, "the cat ran")
  stop = restored.reading.stop
  assert stop == ({"t5": 1, "bart": 2}[kind],) and ids[-1] == stop[0]

  def logits(seen):
    return huggingface.forward_pass(model, params, ids[None], decoder_input_ids=[seen])[0]

  wanted = greedy(logits, [start], stop, 5)
  assert answer(restored, "the cat ran", max_tokens=5).tokens.tolist() == wanted


def test_bert_fills_a_blank_with_its_likeliest_word(directory):
  folder = directory("bert-mlm", "bert")
  model, params = huggingface.load_checkpoint(folder)
  restored = loaded_model.load_model(folder)
  ids = text.prompt_ids(restored, "the ___ sat")
  assert ids.tolist() == [2, 6, 4, 9, 3]
  words = range(5, 5 + len(WORDS))
  best = max(words, key=lambda number: huggingface.forward_pass(model, params, ids[None])[0, 2, number])
  assert answer(restored, "the ___ sat").text == f"the {WORDS[best - 5]} sat"


def test_blanks_are_marked_as_the_tokenizer_marks_them(directory):
  t5 = loaded_model.load_model(directory("t5-lm", "t5"))
  assert text.prompt_ids(t5, "the ___ sat ___").tolist() == [4, 12, 7, 11, 1]
  with pytest.raises(UserError, match="more than 2 blanks"):
    text.prompt_ids(t5, "___ the ___ sat ___")
  bart = loaded_model.load_model(directory("bart-lm", "bart"))
  assert text.prompt_ids(bart, "the ___").tolist() == [0, 5, 12, 2]


@pytest.mark.parametrize(("name", "kind"), [("gpt2-lm", "gpt2"), ("t5-lm", "t5")])
def test_an_imported_run_reads_and_writes_as_its_directory(directory, tmp_path, name, kind):
  folder = directory(name, kind)
  runs.import_checkpoint(folder, tmp_path / "run")
  first, second = loaded_model.load_model(folder), loaded_model.load_model(tmp_path / "run")
  assert second.reading == first.reading and second.where == "run, step 0"
  one, other = (answer(each, "a dog ran", max_tokens=5) for each in (first, second))
  np.testing.assert_array_equal(one.tokens, other.tokens)
  assert one.text == other.text


def test_maps_show_the_text_as_the_model_was_trained_to_read_it(directory):
  shown = {}
  for name, kind in (("gpt2-lm", "gpt2"), ("bert", "bert"), ("t5-lm", "t5")):
    found = loaded_model.load_model(directory(name, kind))
    frame = (found.reading.before, found.reading.after)
    maps = attention_maps.read_maps(
      found.model, found.params, found.tokenizer, "the cat", "a dog", found.reading.start, frame
    )
    for one in maps:
      np.testing.assert_allclose(one.weights_lhts.sum(-1), 1, atol=1e-5)
      shown[kind, one.kind] = (one.queries, one.keys)
  text_t5, target = ("the", "cat", "</s>"), ("<pad>", "a", "dog")
  assert shown == {
    ("gpt2", "self"): (("the", "cat"),) * 2,
    ("bert", "self"): (("[CLS]", "the", "cat", "[SEP]"),) * 2,
    ("t5", "source"): (text_t5, text_t5),
    ("t5", "self"): (target, target),
    ("t5", "cross"): (target, text_t5),
  }


def test_a_directory_without_a_tokenizer_takes_the_one_that_is_named(directory, tmp_path):
  folder = directory("gpt2-lm")
  with pytest.raises(UserError, match=r"has no tokenizer .*tokenizer\.json") as caught:
    loaded_model.load_model(folder)
  assert "\n" not in str(caught.value)
  write_tokenizer(tmp_path / "named", "gpt2")
  assert loaded_model.load_model(folder, tokenizer=tmp_path / "named").tokenizer.vocab == 11
  runs.import_checkpoint(folder, tmp_path / "run")
  with pytest.raises(UserError, match="has no tokenizer"):
    loaded_model.load_model(tmp_path / "run")
  assert loaded_model.load_model(tmp_path / "run", tokenizer=tmp_path / "named").tokenizer.vocab == 11


def write_llama(folder):
  """Writes the two files of a Llama-like tokenizer: byte fallback, a space before the text, <s> before its ids."""
  folder.mkdir()
  pieces = ["<unk>", "<s>", "</s>", "<0x7A>", "▁", *"theca", "▁t", "▁th", "▁the", "at", "▁c", "▁cat"]
  merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("a", "t"), ("▁", "c"), ("▁c", "at")]
  ids = {piece: number for number, piece in enumerate(pieces)}
  made = library.Tokenizer(library.models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True))
  made.normalizer = library.normalizers.Sequence(
    [library.normalizers.Prepend("▁"), library.normalizers.Replace(" ", "▁")]
  )
  made.decoder = library.decoders.Sequence(
    [library.decoders.Replace("▁", " "), library.decoders.ByteFallback(), library.decoders.Fuse()]
  )
  made.add_special_tokens(["<unk>", "<s>", "</s>"])
  made.post_processor = library.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
  made.save(str(folder / "tokenizer.json"))
  (folder / "tokenizer_config.json").write_text(json.dumps({
    "add_bos_token": True, "add_eos_token": False, "legacy": False, "tokenizer_class": "LlamaTokenizer",
    "bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "</s>", "pad_token": None,
    "unk_token": "<unk>", "model_max_length": 10**30, "chat_template": "{{ messages }}", "sp_model_kwargs": {},
  }))  # fmt: skip
  return made


def test_the_two_files_of_a_llama_like_tokenizer_suffice(directory, tmp_path):
  made = write_llama(tmp_path / "llama")
  folder = directory("gpt2-lm")
  found = loaded_model.load_model(folder, tokenizer=tmp_path / "llama")
  ids = found.tokenizer.encode("the cat z")
  assert [*found.reading.before, *ids] == made.encode("the cat z").ids == [1, 12, 15, 4, 3]
  assert found.reading.before == (1,) and found.reading.after == () and found.reading.stop == (2,)
  ((answered,),) = text.stream_answers(found, ["the cat"], GREEDY, KEY, max_tokens=3)
  assert len(answered.tokens) <= 3
  for name, what in (("llama/tokenizer.json", "is a file"), ("absent", "does not exist")):
    with pytest.raises(UserError, match=rf"{name} {what}; name the folder"):
      loaded_model.load_model(folder, tokenizer=tmp_path / name)


def test_the_wrong_tokenizer_is_refused(directory, tmp_path):
  folder = directory("gpt2-lm", "gpt2")
  runs.import_checkpoint(folder, tmp_path / "run")
  write_tokenizer(tmp_path / "other", "gpt2", WORDS[::-1])
  for where in (folder, tmp_path / "run"):
    with pytest.raises(UserError, match=r"was trained with tokenizer \w+, and the one in .*other is \w+"):
      loaded_model.load_model(where, tokenizer=tmp_path / "other")
  ByteTokenizer().save(tmp_path / "bytes")
  with pytest.raises(UserError):
    loaded_model.load_model(folder, tokenizer=tmp_path / "bytes")


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_a_model_without_a_head_writes_nothing(directory, tmp_path, name):
  folder = directory(name, name)
  runs.import_checkpoint(folder, tmp_path / "run")
  for where in (folder, tmp_path / "run"):
    with pytest.raises(UserError, match="without a language-model head"):
      answer(loaded_model.load_model(where), "the ___")


def test_a_directory_has_no_steps(directory):
  with pytest.raises(UserError, match="without a step number"):
    loaded_model.load_model(directory("gpt2-lm", "gpt2"), 3)


def test_a_recurrent_run_that_carries_its_state_answers(tmp_path):
  (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 400)
  data = Data(
    corpus=str(tmp_path / "text.txt"),
    tokenizer="bytes",
    length=16,
    batch=3,
    stream=True,
    validation_tokens=64,
  )
  data.cache = str(tmp_path / "cache")
  run = Run(steps=3, model=Model(family="lstm", width=8, depth=1, carry=True), data=data)
  loop.train_run(run, tmp_path / "run", dataset.load_dataset(data))
  restored = loaded_model.load_model(tmp_path / "run")
  assert 0 < len(answer(restored, "the cat", max_tokens=5).tokens) <= 5
