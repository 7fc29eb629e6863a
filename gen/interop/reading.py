"""How a model reads and writes text: what frames a prompt, what a target begins with, and what ends it."""

from typing import Any, NamedTuple

from gen.config import Model
from gen.errors import UserError
from gen.interop.tokenizers import PretrainedTokenizer

Ids = tuple[int, ...]


class Reading(NamedTuple):
  """What a model was trained to make of text.

  Attributes:
    objective: what it was trained to do; span_corruption and ul2 mark blanks by sentinels, others by the mask.
    before: ids before a text.
    after: ids after a text that the model sees to its end.
    start: ids that an encoder-decoder's target begins with.
    stop: ids that end what it writes.
    head: whether it gives logits; without them it writes nothing.
    prefix: whether it is a decoder that sees prompts both ways.
  """

  objective: str
  before: Ids
  after: Ids
  start: Ids
  stop: Ids
  head: bool = True
  prefix: bool = False


def of_format(hf: dict[str, Any], model: Model, tokenizer: PretrainedTokenizer, head: bool) -> Reading:
  """Returns how a checkpoint of the Hugging Face format reads.

  Args:
    hf: its config.json.
    model: its shape.
    tokenizer: that came with it.
    head: whether it gives logits.

  Raises:
    UserError: if the tokenizer has ids that the model has not.
  """
  if tokenizer.vocab > model.vocab:
    raise UserError(
      f"the tokenizer has {tokenizer.vocab} ids, and the model {model.vocab}: its ids mean other text; use the"
      " model's own"
    )
  both = "span_corruption" if tokenizer.mask is None else "infilling"
  objective = {"encoder": "masked", "encoder_decoder": both}.get(model.family, "causal")
  first = next((hf[key] for key in ("decoder_start_token_id", "pad_token_id") if hf.get(key) is not None), 0)
  before, after = tokenizer.frame()
  if model.family not in ("encoder", "encoder_decoder"):
    after = ()  # a prompt to be continued has not ended
  start = _ids(first) + _ids(hf.get("forced_bos_token_id"))
  return Reading(objective, before, after, start, _ids(hf.get("eos_token_id")) or _ids(tokenizer.eos), head)


def _ids(value: Any) -> Ids:
  if value is None:
    return ()
  return tuple(value) if isinstance(value, list) else (value,)
