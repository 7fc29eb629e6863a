"""generation_config.json is read beside a model, honoured where it says what the model is, and carried along."""

import json
import shutil
from pathlib import Path

import jax
import pytest
import tokenizers as library

from gen.errors import UserError
from gen.generation import loaded_model, text
from gen.generation.decoding.sampling import GREEDY
from gen.interop import generation_config, huggingface, runs
from gen.interop.generation_config import Constraints

FIXTURES = Path(__file__).parent / "fixtures"
WORDS = ("a", "the", "cat", "dog", "sat")


def write_tokenizer(folder, first, more=(), frame=""):
  """Writes a tokenizer of whole words whose special tokens stand first."""
  ids = {word: number for number, word in enumerate((*first, *WORDS, *more))}
  made = library.Tokenizer(library.models.WordLevel(ids, unk_token="<unk>"))
  made.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
  made.add_special_tokens([*first, *more])
  if frame:
    marks = [(name, ids[name]) for name in frame.split() if name != "$A"]
    made.post_processor = library.processors.TemplateProcessing(single=frame, special_tokens=marks)
  made.save(str(folder / "tokenizer.json"))


@pytest.fixture
def gpt2(tmp_path):
  """Returns the folder of a decoder of 29 ids with a tokenizer of 7."""
  folder = tmp_path / "gpt2"
  shutil.copytree(FIXTURES / "gpt2-lm", folder, ignore=shutil.ignore_patterns("answers*"))
  write_tokenizer(folder, ("<|endoftext|>", "<unk>"))
  return folder


@pytest.fixture
def bart(tmp_path):
  """Returns the folder of an encoder-decoder with its tokenizer."""
  folder = tmp_path / "bart"
  shutil.copytree(FIXTURES / "bart-lm", folder, ignore=shutil.ignore_patterns("answers*"))
  write_tokenizer(folder, ("<s>", "<pad>", "</s>", "<unk>"), frame="<s> $A </s>")
  return folder


def ask(folder, **values):
  (folder / generation_config.NAME).write_text(json.dumps(values))


def answer(folder, prompt="the cat sat", **limits):
  notes = []
  loaded = loaded_model.load_model(folder, report=notes.append)
  ((found,),) = text.stream_answers(loaded, [prompt], GREEDY, jax.random.key(0), **{"max_tokens": 6} | limits)
  return loaded, found.tokens.tolist(), notes


@pytest.mark.slow
def test_the_forced_beginning_stands_in_generation_config_alone(bart):
  model, params = huggingface.load_checkpoint(bart)
  ask(bart, forced_bos_token_id=3, decoder_start_token_id=2, eos_token_id=2)
  loaded, tokens, _ = answer(bart)
  assert loaded.reading.start == (2, 3)
  source = [text.prompt_ids(loaded, "the cat sat").tolist()]
  seen = [2, 3]
  for token in tokens:
    logits = huggingface.forward_pass(model, params, source, decoder_input_ids=[seen])[0, -1]
    assert token == logits.argmax()
    seen.append(token)


def test_config_json_counts_where_there_is_no_other(bart):
  path = bart / "config.json"
  path.write_text(
    json.dumps(json.loads(path.read_text()) | {"forced_bos_token_id": 4, "suppress_tokens": [5]})
  )
  assert loaded_model.load_model(bart).reading.start == (2, 4)
  assert loaded_model.load_model(bart).reading.constraints == Constraints(suppressed=(5,))
  ask(bart, eos_token_id=2)
  assert loaded_model.load_model(bart).reading.start == (2,)
  assert loaded_model.load_model(bart).reading.constraints == Constraints()


def test_older_configs_force_the_beginning_by_another_word(bart):
  path = bart / "config.json"
  more = {"force_bos_token_to_be_generated": True, "bos_token_id": 0}
  path.write_text(json.dumps(json.loads(path.read_text()) | more))
  assert loaded_model.load_model(bart).reading.start == (2, 0)


def test_a_forced_beginning_of_a_decoder_follows_a_prompt_of_one_token(gpt2):
  plain = {prompt: answer(gpt2, prompt)[1] for prompt in ("cat", "cat sat")}
  ask(gpt2, eos_token_id=0, forced_bos_token_id=6)
  assert plain["cat"][0] != 6 and answer(gpt2, "cat")[1][0] == 6
  assert answer(gpt2, "cat sat")[1] == plain["cat sat"]
  ask(gpt2, eos_token_id=0, forced_bos_token_id=50_257)
  _, tokens, notes = answer(gpt2, "cat")
  assert tokens == plain["cat"]
  assert notes == ["forced_bos_token_id 50257 is outside the model's 29 ids: it is not used"]


def test_any_of_several_ends_ends_a_text(gpt2):
  _, tokens, _ = answer(gpt2)
  ask(gpt2, eos_token_id=[0, tokens[2]])
  _, ended, _ = answer(gpt2)
  assert ended == tokens[: tokens.index(tokens[2]) + 1] and len(ended) < len(tokens)


def test_an_end_outside_the_vocabulary_gives_way_to_the_tokenizers_own(gpt2):
  ask(gpt2, eos_token_id=50_256)
  loaded, _, notes = answer(gpt2)
  assert loaded.reading.stop == (0,)
  assert notes == [
    "eos_token_id 50256 is outside the model's 29 ids: the tokenizer's '<|endoftext|>' (id 0) ends a text"
  ]
  ask(gpt2, eos_token_id=[50_256, -1, 3])
  assert loaded_model.load_model(gpt2).reading.stop == (3,)


def test_what_must_not_be_drawn_is_not_drawn(gpt2):
  _, tokens, _ = answer(gpt2)
  ask(gpt2, eos_token_id=0, suppress_tokens=[tokens[0], 99], bad_words_ids=[[tokens[0]], [3, 77]])
  loaded, others, _ = answer(gpt2)
  assert loaded.reading.constraints.suppressed == (tokens[0],)
  assert loaded.reading.constraints.bad_words == ((tokens[0],),)
  assert tokens[0] not in others


def test_what_is_not_done_is_said_in_a_line(gpt2):
  ask(
    gpt2, encoder_repetition_penalty=1.5, typical_p=1.0, sequence_bias=[[[3], 2.0]], num_beams=4,
    length_penalty=2.0, max_length=142, do_sample=True, temperature=0.6, top_k=50, eos_token_id=0,
  )  # fmt: skip
  _, _, notes = answer(gpt2)
  assert notes == [
    "generation_config.json sets encoder_repetition_penalty 1.5, sequence_bias [[[3], 2.0]], which is not"
    " supported: outputs differ from those of transformers",
    "generation_config.json suggests --beams=4 --length_penalty=2.0 --temperature=0.6, which is not applied; the"
    " caller chooses how to sample",
  ]
  ask(gpt2, num_beams=1, length_penalty=2.0, do_sample=False, temperature=0.6, typical_p=None, eos_token_id=0)
  assert answer(gpt2)[2] == []


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"eos_token_id": "</s>"}, "eos_token_id is '</s>'; it must be an id or a list of ids"),
    ({"eos_token_id": [True]}, "eos_token_id"),
    ({"suppress_tokens": {"a": 1}}, "suppress_tokens"),
    ({"suppress_tokens": list(range(29))}, "every id of the vocabulary"),
    ({"bad_words_ids": [3]}, "bad_words_ids must be a list of lists"),
    ({"bad_words_ids": [[]]}, "bad_words_ids must be a list of lists"),
    ({"min_length": "long"}, "min_length holds text where a whole number is expected"),
    ({"min_new_tokens": -3}, "min_new_tokens is -3"),
    ({"repetition_penalty": 0}, "repetition_penalty 0.0 is not between"),
    ({"no_repeat_ngram_size": 1e30}, "no_repeat_ngram_size holds a number where a whole number is expected"),
    ({"decoder_start_token_id": [1, 2]}, "one id is supported"),
  ],
)
def test_a_value_that_cannot_be_is_one_sentence(gpt2, values, message):
  ask(gpt2, **values)
  with pytest.raises(UserError) as caught:
    loaded_model.load_model(gpt2)
  assert message in str(caught.value) and generation_config.NAME in str(caught.value)
  assert "\n" not in str(caught.value)


def test_a_target_that_begins_outside_the_vocabulary_is_refused(bart):
  ask(bart, decoder_start_token_id=99, eos_token_id=2)
  with pytest.raises(UserError, match="would begin with id 99"):
    loaded_model.load_model(bart)


def test_it_is_carried_byte_by_byte(gpt2, tmp_path):
  content = b'{"eos_token_id": [0, 3],\n\n "suppress_tokens": [2], "of_the_user": "kept"}'
  (gpt2 / generation_config.NAME).write_bytes(content)
  runs.import_checkpoint(gpt2, tmp_path / "run")
  assert loaded_model.load_model(tmp_path / "run").reading == loaded_model.load_model(gpt2).reading
  runs.export_checkpoint(tmp_path / "run", tmp_path / "exported")
  assert (tmp_path / "exported" / generation_config.NAME).read_bytes() == content
  huggingface.save_checkpoint(tmp_path / "saved", *huggingface.load_checkpoint(gpt2))
  assert (tmp_path / "saved" / generation_config.NAME).read_bytes() == content
  (gpt2 / generation_config.NAME).unlink()
  huggingface.save_checkpoint(tmp_path / "saved", *huggingface.load_checkpoint(gpt2))
  assert not (tmp_path / "saved" / generation_config.NAME).exists()


def test_ids_without_a_row_are_refused_only_where_a_prompt_holds_one(gpt2):
  write_tokenizer(gpt2, ("<|endoftext|>", "<unk>"), [f"<{number}>" for number in range(22)])
  assert answer(gpt2)[2] == []  # 29 ids, 29 rows
  write_tokenizer(gpt2, ("<|endoftext|>", "<unk>"), [f"<{number}>" for number in range(23)])
  loaded, _, notes = answer(gpt2)
  assert notes == [
    "the tokenizer has 30 ids and the model rows for 29: texts with one of the others are refused"
  ]
  with pytest.raises(UserError, match=r"'<22>', which is id 29, but the model has rows only for ids 0 to 28"):
    text.prompt_ids(loaded._replace(reading=loaded.reading._replace(before=(29,))), "the cat")
