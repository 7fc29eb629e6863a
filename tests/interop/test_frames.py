"""The special tokens around a text come from the tokenizer's own rule, whatever its alphabet."""

import json

import pytest
import tokenizers as library

from gen.config import Model
from gen.errors import UserError
from gen.interop import generation_config, text_frames, tokenizers

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MARKS = [("[CLS]", 2), ("[SEP]", 3)]
ALPHABETS = {"bases": "ACGT", "amino acids": "LAGVSERTIDPKQNFYMHWC", "digits": "0123456789", "Greek": "αβγδ"}


def of_letters(folder, letters, single="[CLS] $A [SEP]"):
  """Writes a BPE over letters, without an unknown token, that frames a text as `single` says."""
  ids = {name: number for number, name in enumerate((*SPECIAL, *letters))}
  made = library.Tokenizer(library.models.BPE(ids, []))
  made.add_special_tokens(list(SPECIAL))
  if single:
    made.post_processor = library.processors.TemplateProcessing(single=single, special_tokens=MARKS)
  folder.mkdir(exist_ok=True)
  made.save(str(folder / "tokenizer.json"))
  return tokenizers.load_tokenizer(folder)


@pytest.mark.parametrize("letters", ALPHABETS.values(), ids=ALPHABETS)
def test_the_frame_does_not_depend_on_the_alphabet(tmp_path, letters):
  found = of_letters(tmp_path, letters)
  assert found.frame() == ((2,), (3,))
  text = letters[:3]
  assert found.encode_for_model(text).tolist() == [2, *found.encode(text).tolist(), 3]


@pytest.mark.parametrize(
  ("single", "frame"),
  [
    ("", ((), ())),
    ("$A", ((), ())),
    ("$A [SEP]", ((), (3,))),
    ("[CLS] [SEP] $A [SEP] [SEP]", ((2, 3), (3, 3))),
  ],
)
def test_a_frame_is_split_where_the_text_stands(tmp_path, single, frame):
  assert of_letters(tmp_path, "ACGT", single).frame() == frame


def test_other_post_processors_frame_as_well(tmp_path):
  of_letters(tmp_path, "ACGT")
  path = tmp_path / "tokenizer.json"
  described = json.loads(path.read_text())
  for kind in ("BertProcessing", "RobertaProcessing"):
    one = {
      "type": kind,
      "sep": ["[SEP]", 3],
      "cls": ["[CLS]", 2],
      "trim_offsets": True,
      "add_prefix_space": False,
    }
    for processor in (one, {"type": "Sequence", "processors": [{"type": "ByteLevel"} | BYTES, one]}):
      path.write_text(json.dumps(described | {"post_processor": processor}))
      assert tokenizers.load_tokenizer(tmp_path).frame() == ((2,), (3,)), processor


BYTES = {"add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def test_a_post_processor_that_repeats_a_text_is_refused(tmp_path):
  with pytest.raises(UserError, match="repeats a text 2 times"):
    of_letters(tmp_path, "ACGT", "[CLS] $A $A").frame()


@pytest.mark.parametrize(("family", "after"), [("decoder", ()), ("encoder", (3,)), ("encoder_decoder", (3,))])
def test_only_a_prompt_to_be_continued_is_left_open(tmp_path, family, after):
  found = of_letters(tmp_path, "ACGT")
  asked = generation_config.read_generation_config(tmp_path, {}, 12)
  read = text_frames.frame_of_format({}, asked, Model(family=family, vocab=12), found, True)
  assert (read.before, read.after) == ((2,), after)


def test_what_the_library_raises_is_one_sentence(tmp_path):
  made = library.Tokenizer(library.models.Unigram([("a", -1.0), ("b", -1.0)]))  # without an unknown token
  made.save(str(tmp_path / "tokenizer.json"))
  found = tokenizers.load_tokenizer(tmp_path)
  for call in (found.encode, found.encode_for_model, lambda text: found.encode_batch(["a", text])):
    with pytest.raises(UserError, match="cannot encode this text: ") as caught:
      call("z")
    assert "\n" not in str(caught.value)
