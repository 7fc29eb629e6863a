"""Turn marks stay text by default, and are tokens where a caller says so."""

import pytest
import tokenizers as library

from gen.config import Model
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.generation import special_tokens, text
from gen.generation.loaded_model import LoadedModel
from gen.interop import tokenizers
from gen.interop.text_frames import TextFrame

MARKS = ("<|user|>", "<|assistant|>", "<|end|>")
PROMPT = "<|user|>hi you<|assistant|>"


@pytest.fixture
def model(tmp_path):
  """Returns a decoder whose tokenizer of bytes has turn marks."""
  made = library.Tokenizer(library.models.BPE({letter: n for n, letter in enumerate(alphabet())}, []))
  made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  made.decoder = library.decoders.ByteLevel()
  made.add_special_tokens([*MARKS, library.AddedToken("<mask>", lstrip=True, special=True)])
  made.save(str(tmp_path / "tokenizer.json"))
  reading = TextFrame("causal", before=(), after=(), start=(0,), stop=(258,))
  return LoadedModel(Model(vocab=260), None, tokenizers.load_tokenizer(tmp_path), reading, "here")


def alphabet():
  return sorted(library.pre_tokenizers.ByteLevel.alphabet())


def ids(model, prompt=PROMPT):
  return text.prompt_ids(model, prompt).tolist()


def test_marks_are_text_unless_they_are_allowed(model):
  assert len(ids(model)) == len(PROMPT) and max(ids(model)) < 256
  assert (
    ids(special_tokens.allow_special(model, False))
    == ids(special_tokens.allow_special(model, []))
    == ids(model)
  )
  inner = ids(model, "hi you")
  assert ids(special_tokens.allow_special(model, True)) == [256, *inner, 257]
  assert ids(special_tokens.allow_special(model, ["<|user|>", "<|assistant|>"])) == [256, *inner, 257]


def test_a_mark_that_is_not_named_stays_text(model):
  only = special_tokens.allow_special(model, ["<|user|>"])
  assert ids(only) == [256, *ids(model, "hi you<|assistant|>")]


def test_marks_treat_spaces_as_their_tokenizer_does(model):
  wanted = [256, *ids(model, "a"), 259, *ids(model, " b")]
  assert ids(special_tokens.allow_special(model, True), "<|user|>a <mask> b") == wanted


def test_a_name_that_is_no_token_is_refused_with_those_there_are(model):
  with pytest.raises(UserError, match=r"no special token '<\|usr\|>'; it has <\|user\|>, <\|assistant\|>, "):
    special_tokens.allow_special(model, ["<|usr|>"])


def test_a_tokenizer_of_this_project_has_marks_too():
  tokenizer = ByteTokenizer()
  reading = TextFrame("causal", before=(tokenizer.bos,), after=(), start=(0,), stop=(1,))
  model = LoadedModel(Model(vocab=tokenizer.vocab), None, tokenizer, reading, "here")
  name = tokenizer.name(tokenizer.eos)
  allowed = special_tokens.allow_special(model, [name])
  wanted = [tokenizer.bos, *tokenizer.encode("a"), tokenizer.eos, *tokenizer.encode("b")]
  assert ids(allowed, f"a{name}b") == wanted
  assert ids(model, f"a{name}b") == [tokenizer.bos, *tokenizer.encode(f"a{name}b")]
