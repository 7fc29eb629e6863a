"""The special tokens around a model's texts: around a prompt, at the start of a target, and at the end of text."""

from collections.abc import Mapping
from typing import NamedTuple

from gen.config import Model
from gen.errors import UserError
from gen.interop.generation_config import UNCONSTRAINED, Constraints, GenerationConfig
from gen.interop.tokenizers import PretrainedTokenizer

Ids = tuple[int, ...]


class TextFrame(NamedTuple):
  """The text format that a model was trained with.

  Attributes:
    objective: its training objective; span_corruption and ul2 mark blanks by sentinels, others by the mask.
    before: ids before a text.
    after: ids after a complete text.
    start: first ids of an encoder-decoder's target.
    stop: ids that end generated text.
    head: whether it has a language-model head, without which it cannot generate.
    prefix: whether it is a decoder with bidirectional attention inside prompts.
    constraints: on generated text, independent of the sampler.
    notes: sentences for the user about its files.
    special: names and ids of special tokens that are allowed in prompts; others are encoded as text.
  """

  objective: str
  before: Ids
  after: Ids
  start: Ids
  stop: Ids
  head: bool = True
  prefix: bool = False
  constraints: Constraints = UNCONSTRAINED
  notes: tuple[str, ...] = ()
  special: tuple[tuple[str, int], ...] = ()


def frame_of_format(
  hf: Mapping[str, object],
  generation: GenerationConfig,
  model: Model,
  tokenizer: PretrainedTokenizer,
  head: bool,
) -> TextFrame:
  """Returns the text format of a Hugging Face checkpoint.

  Args:
    hf: its config.json, completed by its architecture's defaults.
    generation: its generation settings.
    model: its config.
    tokenizer: of the checkpoint.
    head: whether it has a language-model head.

  Raises:
    UserError: if a target would begin with an id outside the model's vocabulary.
  """
  # T5 has sentinels and no mask; BART has a mask.
  both = "span_corruption" if tokenizer.mask is None else "infilling"
  objective = {"encoder": "masked", "encoder_decoder": both}.get(model.family, "causal")
  before, after = tokenizer.frame()
  if model.family not in ("encoder", "encoder_decoder"):
    after = ()  # a prompt that is continued has no end
  start: Ids = (0,)
  constraints = generation.constraints
  if model.family == "encoder_decoder":
    start = _start(hf, generation, model.vocab if head else 0)
    # transformers counts the forced first tokens as new ones, and here they are given.
    constraints = constraints._replace(min_new=max(0, constraints.min_new - len(start) + 1))
  forced_notes: tuple[str, ...] = ()
  if model.family not in ("encoder", "encoder_decoder") and generation.forced_bos is not None:
    if 0 <= generation.forced_bos < model.vocab:
      constraints = constraints._replace(forced_second=generation.forced_bos)
    else:
      forced_notes = (
        f"forced_bos_token_id {generation.forced_bos} is outside the model's {model.vocab} ids: it is not used",
      )
  stop, end_notes = _stop(generation.eos, model.vocab, tokenizer)
  notes = (generation.notes + forced_notes + end_notes if model.family != "encoder" else ()) + _size_notes(
    model, tokenizer
  )
  return TextFrame(objective, before, after, start, stop, head, constraints=constraints, notes=notes)


def _start(hf: Mapping[str, object], generation: GenerationConfig, vocab: int) -> Ids:
  """Returns the first ids of a target: the start token, and the forced token after it."""
  first = generation.decoder_start
  if first is None:
    first = next(
      (token for key in ("pad_token_id", "bos_token_id") if isinstance(token := hf.get(key), int)), 0
    )
  start = (first,) if generation.forced_bos is None else (first, generation.forced_bos)
  for token in start:
    if vocab and not 0 <= token < vocab:
      raise UserError(
        f"a target would begin with id {token} (decoder_start_token_id or forced_bos_token_id), but the model's ids"
        f" are 0 to {vocab - 1}; correct generation_config.json"
      )
  return start


def _stop(eos: Ids, vocab: int, tokenizer: PretrainedTokenizer) -> tuple[Ids, tuple[str, ...]]:
  """Returns the ids that end a text: those of the files within the vocabulary, else the tokenizer's."""
  stop = tuple(dict.fromkeys(token for token in eos if 0 <= token < vocab))
  if stop:
    return stop, ()
  own = tokenizer.eos
  stop = () if own is None or own >= vocab else (own,)
  if not eos:
    return stop, ()
  instead = (
    f"the tokenizer's {tokenizer.name(stop[0])!r} (id {stop[0]}) ends a text"
    if stop
    else "no token ends a text"
  )
  outside = ", ".join(map(str, eos[:4]))
  return stop, (f"eos_token_id {outside} is outside the model's {vocab} ids: {instead}",)


def _size_notes(model: Model, tokenizer: PretrainedTokenizer) -> tuple[str, ...]:
  if tokenizer.vocab <= model.vocab:
    return ()
  return (
    f"the tokenizer has {tokenizer.vocab} ids and the model rows for {model.vocab}: texts with one of the others are"
    " refused",
  )
