"""The generation settings of a Hugging Face checkpoint.

They are in generation_config.json, or in config.json of older checkpoints. Ids that begin and end a text, suppressed
ids, minimum lengths and penalties are part of the model and are applied. Sampling (do_sample, temperature, top_k,
num_beams, max_length...) is the caller's choice. Settings that are not applied are returned as notes.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from gen.errors import UserError
from gen.io import json_reading

NAME = "generation_config.json"
MAX_BYTES = 1 << 23  # of the file; real ones have a few hundred bytes, and lists of suppressed ids some more
Ids = tuple[int, ...]
# Settings of the caller: the flag of experiments/generate.py, and the value without effect.
_CHOICES: dict[str, tuple[str, Any]] = {
  "num_beams": ("beams", 1),
  "length_penalty": ("length_penalty", 1.0),
  "temperature": ("temperature", 1.0),
  "top_k": ("top_k", 50),
  "top_p": ("top_p", 1.0),
  "min_p": ("min_p", 0),
  "stop_strings": ("stop", []),
}
_OF_BEAMS, _OF_SAMPLING = ("length_penalty",), ("temperature", "top_k", "top_p", "min_p")
# Unsupported settings that change the output, and the value without effect.
_UNSUPPORTED: dict[str, object] = {
  "encoder_no_repeat_ngram_size": 0,
  "encoder_repetition_penalty": 1.0,
  "sequence_bias": None,
  "guidance_scale": 1.0,
  "exponential_decay_length_penalty": None,
  "watermarking_config": None,
  "force_words_ids": None,
  "constraints": None,
  "num_beam_groups": 1,
  "diversity_penalty": 0.0,
  "penalty_alpha": 0.0,
  "dola_layers": None,
  "token_healing": False,
  "typical_p": 1.0,
  "epsilon_cutoff": 0.0,
  "eta_cutoff": 0.0,
  "top_h": None,
}


class Constraints(NamedTuple):
  """Constraints on generated text, independent of the sampler.

  Attributes:
    suppressed: ids that are never generated.
    suppressed_first: ids that are not generated as the first new token.
    bad_words: sequences of ids that are never generated.
    min_length: minimum length in tokens, with the prompt or the start of the target.
    min_new: minimum number of new tokens.
    no_repeat: size of n-grams that never repeat; 0 is none.
    repetition_penalty: default of a Sampler without one.
    forced_second: id that follows a text of one token, such as an empty prompt behind its start token; None is none.
  """

  suppressed: Ids = ()
  suppressed_first: Ids = ()
  bad_words: tuple[Ids, ...] = ()
  min_length: int = 0
  min_new: int = 0
  no_repeat: int = 0
  repetition_penalty: float = 1.0
  forced_second: int | None = None


UNCONSTRAINED = Constraints()


class GenerationConfig(NamedTuple):
  """The content of generation_config.json, or of config.json in its place.

  Attributes:
    eos: ids that end a text; may be outside the vocabulary.
    decoder_start: first id of an encoder-decoder's target, or None.
    forced_bos: second id of its target or, in a decoder, of a text whose prompt is one token; or None.
    constraints: on generated text.
    notes: one sentence for each setting that is not applied.
  """

  eos: Ids
  decoder_start: int | None
  forced_bos: int | None
  constraints: Constraints
  notes: tuple[str, ...]


def read_generation_config(folder: Path, hf: Mapping[str, object], vocab: int) -> GenerationConfig:
  """Reads the generation settings of a checkpoint.

  Args:
    folder: of the checkpoint. If it has a generation_config.json, only that is used, as in transformers, except for
      the ids of a text's beginning and end.
    hf: its config.json, completed by its architecture's defaults.
    vocab: rows of the model's embedding; suppressed ids outside are ignored.

  Raises:
    UserError: for a value of the wrong type; the sentence names the file.
  """
  path = folder / NAME
  there = path.is_file()
  values = json_reading.read_json(path, max_bytes=MAX_BYTES) if there else hf
  name = str(path) if there else "config.json"
  roles = {**hf, **{key: value for key, value in values.items() if value is not None}}
  forced = _id(values, "forced_bos_token_id", name)
  if forced is None and not there and hf.get("force_bos_token_to_be_generated") is True:  # before 2021
    forced = _id(hf, "bos_token_id", name)
  suppressed = tuple(sorted({token for token in _ids(values, "suppress_tokens", name) if 0 <= token < vocab}))
  if len(suppressed) >= vocab:
    raise UserError(
      f"{name}: suppress_tokens holds every id of the vocabulary, so no token could be generated"
    )
  eos = _ids(roles, "eos_token_id", name)
  min_new = _number(values, "min_new_tokens", name, int, None)
  min_length = _number(values, "min_length", name, int, 0)
  constraints = Constraints(
    suppressed,
    tuple(token for token in _ids(values, "begin_suppress_tokens", name) if 0 <= token < vocab),
    _bad_words(values, name, eos, vocab),
    min_length if min_new is None else 0,  # the other takes precedence
    min_new or 0,
    _number(values, "no_repeat_ngram_size", name, int, 0),
    float(_number(values, "repetition_penalty", name, float, 1.0)),
  )
  if not 1e-6 <= constraints.repetition_penalty <= 1e6:
    raise UserError(
      f"{name}: repetition_penalty {constraints.repetition_penalty} is not between 1e-6 and 1e6"
    )
  start = _id(roles, "decoder_start_token_id", name)
  return GenerationConfig(eos, start, forced, constraints, _notes(values, path.name if there else name))


def _notes(values: Mapping[str, object], name: str) -> tuple[str, ...]:
  notes = []
  unsupported = [key for key, neutral in _UNSUPPORTED.items() if not _neutral(values.get(key), neutral)]
  if unsupported:
    listed = ", ".join(f"{key} {_short(values[key])}" for key in unsupported)
    notes.append(f"{name} sets {listed}, which is not supported: outputs differ from those of transformers")
  skipped = (_OF_SAMPLING if values.get("do_sample") is not True else ()) + (
    _OF_BEAMS if _neutral(values.get("num_beams"), 1) else ()
  )
  chosen = [
    f"--{flag}={_short(values[key])}"
    for key, (flag, neutral) in _CHOICES.items()
    if key not in skipped and not _neutral(values.get(key), neutral)
  ]
  if chosen:
    notes.append(
      f"{name} suggests {' '.join(chosen)}, which is not applied; the caller chooses how to sample"
    )
  return tuple(notes)


def _neutral(value: object, neutral: object) -> bool:
  return value is None or value == neutral or value in ([], {}, False)


def _short(value: object) -> str:
  text = repr(value)
  return text if len(text) <= 40 else f"{text[:37]}..."


def _bad_words(values: Mapping[str, object], name: str, eos: Ids, vocab: int) -> tuple[Ids, ...]:
  words = values.get("bad_words_ids")
  if words is None:
    return ()
  wrong = UserError(f"{name}: bad_words_ids must be a list of lists of ids, each of one id or more")
  if not isinstance(words, list) or not all(isinstance(word, list) and word for word in words):
    raise wrong
  if not all(_is_id(token) for word in words for token in word):
    raise wrong
  if sum(map(len, words)) > 1 << 20:
    raise UserError(f"{name}: bad_words_ids holds more than {1 << 20:,} ids")
  # As in transformers, a bad word that is only an end token is ignored.
  sequences = {tuple(word) for word in words if word not in [[token] for token in eos]}
  return tuple(sorted(word for word in sequences if all(0 <= token < vocab for token in word)))


def _is_id(value: object) -> TypeGuard[int]:
  return isinstance(value, int) and not isinstance(value, bool)


def _ids(values: Mapping[str, object], key: str, name: str) -> Ids:
  value = values.get(key)
  listed = value if isinstance(value, list) else [] if value is None else [value]
  if not all(_is_id(token) for token in listed):
    raise UserError(f"{name}: {key} is {_short(value)}; it must be an id or a list of ids")
  return tuple(listed)


def _id(values: Mapping[str, object], key: str, name: str) -> int | None:
  ids = _ids(values, key, name)
  if len(ids) > 1:
    raise UserError(f"{name}: {key} is {_short(values[key])}; one id is supported, the same for every text")
  return ids[0] if ids else None


def _number(values: Mapping[str, object], key: str, name: str, kind: type, default: float | None) -> Any:
  value = values.get(key)
  if value is None:
    return default
  number = json_reading.require_kind(value, kind, f"{name}: {key}")
  if not 0 <= number <= 1 << 30 or not math.isfinite(number):
    raise UserError(f"{name}: {key} is {_short(value)}; it must be between 0 and {1 << 30}")
  return number
