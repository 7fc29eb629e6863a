"""Flags of an experiment that generates text: how tokens are drawn, when an answer ends, and special tokens.

`define_flags` defines them for the experiment that calls it; the other functions read them from the command line.
"""

from typing import TYPE_CHECKING, Any

from absl import flags

from gen.errors import UserError
from gen.io import quantities

if TYPE_CHECKING:  # both import jax, which --help does not need
  from gen.generation.decoding.decoding_batch import DecodeLimits
  from gen.generation.decoding.sampling import Sampler

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")  # fields of Sampler, in its order
MILLION = 1_000_000  # of tokens, far beyond any context window


def define_flags() -> None:
  """Defines the flags of sampling, beam search, limits and special tokens."""
  number, integer = quantities.DEFINE_float, quantities.DEFINE_integer
  number("temperature", 1.0, "0: greedy; 1: the model's own distribution.", lower_bound=0)
  integer("top_k", 0, "Sample from the k likeliest tokens; 0: all.", lower_bound=0)
  number("top_p", 1.0, "Sample from the likeliest tokens whose probabilities add up to p.", 0, 1)
  number("min_p", 0.0, "Sample from tokens whose probability is at least p times the highest.", 0, 1)
  number("repetition_penalty", 1.0, "Above 1: tokens that occurred before become less likely.", lower_bound=0)
  integer("beams", 0, "Beams of a beam search; 0: sampling.", lower_bound=0, upper_bound=4_096)
  number("length_penalty", 1.0, "Beam search: above 0 favours long texts.", -100, 100)
  integer(
    "max_tokens",
    64,
    "Max new tokens; by default fewer where the window is short.",
    lower_bound=0,
    upper_bound=MILLION,
  )
  integer("min_tokens", 0, "Min new tokens.", lower_bound=0, upper_bound=MILLION)
  flags.DEFINE_multi_string(
    "stop", [], "Text that ends an answer and is not part of it; may be given several times."
  )
  flags.DEFINE_string(
    "window",
    "",
    "If a text exceeds the context window: error, truncate or slide; empty: error, or slide when interactive.",
  )
  flags.DEFINE_flag(_special_flag())


def _special_flag() -> "flags.MultiFlag[str]":
  flag: flags.MultiFlag[str] = flags.MultiFlag(
    flags.ArgumentParser(),
    None,
    "special",
    [],
    "Special token, such as <|user|>, to recognize in prompts; may be given several times; without a value: all of the"
    " tokenizer's. By default special tokens in prompts are plain text.",
  )
  flag.boolean = True  # so that it may stand without a value
  return flag


def sampler_from_flags() -> "Sampler":
  """Returns the sampler of the command line, unchecked."""
  from gen.generation.decoding.sampling import Sampler

  values: dict[str, Any] = {name: flags.FLAGS[name].value for name in SAMPLING}
  return Sampler(**values)


def limits_from_flags(interactive: bool) -> "DecodeLimits":
  """Returns the limits of the command line, unchecked.

  Args:
    interactive: whether a conversation is held, which by default slides its context window.
  """
  from gen.generation.decoding.decoding_batch import DecodeLimits

  values = flags.FLAGS
  window = values.window or ("slide" if interactive else "error")
  return DecodeLimits(values.max_tokens, values.min_tokens, stop_strings=tuple(values.stop), window=window)


def max_tokens_are_default() -> bool:
  """Returns whether nobody gave a number of new tokens, so that fewer may be generated."""
  return flags.FLAGS["max_tokens"].using_default_value


def special_from_flags() -> list[str] | bool:
  """Returns the special tokens that prompts may contain; True for all of the tokenizer's."""
  names = flags.FLAGS.special
  return "true" in names or names


def beam_search_from_flags(samples: int) -> tuple[int, float] | None:
  """Returns the beams and the length penalty of the command line; None where it samples.

  Args:
    samples: number of answers.

  Raises:
    UserError: if there are fewer beams than answers, or a flag of sampling is set.
  """
  beams = flags.FLAGS.beams
  if not beams:
    return None
  if beams < samples:
    raise UserError(f"--beams={beams} gives fewer than {samples} answers; ask for fewer --samples")
  unused = [name for name in SAMPLING if flags.FLAGS[name].value != flags.FLAGS[name].default]
  if unused:
    raise UserError(f"--beams draws no random tokens, so --{unused[0]} has no effect; leave one of them out")
  return beams, flags.FLAGS.length_penalty
