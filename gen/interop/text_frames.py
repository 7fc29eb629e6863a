"""How a model reads and writes text: what frames a prompt, what a target begins with, and what ends it."""

from typing import Any, NamedTuple

from gen.config import Model
from gen.errors import UserError
from gen.interop.generation_config import UNCONSTRAINED, Constraints, GenerationConfig
from gen.interop.tokenizers import PretrainedTokenizer

Ids = tuple[int, ...]


class TextFrame(NamedTuple):
  """What a model was trained to make of text.

  Attributes:
    objective: what it was trained to do; span_corruption and ul2 mark blanks by sentinels, others by the mask.
    before: ids before a text.
    after: ids after a text that the model sees to its end.
    start: ids that an encoder-decoder's target begins with.
    stop: ids that end what it writes.
    head: whether it gives logits; without them it writes nothing.
    prefix: whether it is a decoder that sees prompts both ways.
    constraints: what its answers keep to, whatever draws them.
    notes: what a user should know of its files, a sentence each.
    special: names and ids of special tokens that prompts may hold; elsewhere they are text.
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
  hf: dict[str, Any], asked: GenerationConfig, model: Model, tokenizer: PretrainedTokenizer, head: bool
) -> TextFrame:
  """Returns how a checkpoint of the Hugging Face format reads.

  Args:
    hf: its config.json, completed by its architecture's defaults.
    asked: what its files ask of generation.
    model: its shape.
    tokenizer: that came with it.
    head: whether it gives logits.

  Raises:
    UserError: if a target would begin with an id that the model does not have.
  """
  both = "span_corruption" if tokenizer.mask is None else "infilling"
  objective = {"encoder": "masked", "encoder_decoder": both}.get(model.family, "causal")
  before, after = tokenizer.frame()
  if model.family not in ("encoder", "encoder_decoder"):
    after = ()  # a prompt to be continued has not ended
  start: Ids = (0,)
  constraints = asked.constraints
  if model.family == "encoder_decoder":
    start = _start(hf, asked, model.vocab if head else 0)
    constraints = constraints._replace(min_new=max(0, constraints.min_new - len(start) + 1))
  stop, end_notes = _stop(asked.eos, model.vocab, tokenizer)
  notes = (asked.notes + end_notes if model.family != "encoder" else ()) + _size_notes(model, tokenizer)
  return TextFrame(objective, before, after, start, stop, head, constraints=constraints, notes=notes)


def _start(hf: dict[str, Any], asked: GenerationConfig, vocab: int) -> Ids:
  """Returns what a target begins with: the start token, and the one that is forced behind it."""
  first = asked.decoder_start
  if first is None:
    first = next((hf[key] for key in ("pad_token_id", "bos_token_id") if hf.get(key) is not None), 0)
  start = (first,) if asked.forced_bos is None else (first, asked.forced_bos)
  for token in start:
    if vocab and not 0 <= token < vocab:
      raise UserError(
        f"a target would begin with id {token} (decoder_start_token_id or forced_bos_token_id), and the model has ids 0"
        f" to {vocab - 1}; correct generation_config.json"
      )
  return start


def _stop(eos: Ids, vocab: int, tokenizer: PretrainedTokenizer) -> tuple[Ids, tuple[str, ...]]:
  """Returns the ids that end a text: those of the files that the model has, else the tokenizer's own."""
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
    else "nothing ends a text"
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
