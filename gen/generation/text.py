"""Prompts and answers as text: the input of each family, and the displayed output.

    decoder, rnn       <s> prompt                         the text that follows
    encoder-decoder    <s> source </s>, blanks marked     the target, special ids by their names
    of objective ul2   its mode first; without a blank, one is appended
    of prefix          <s> source                         the text that follows
    encoder            <s> text </s>, blanks masked       the text with its blanks filled

Models of other libraries use the special tokens of their tokenizers. A special token's name in a prompt is encoded as
ordinary text, unless `special_tokens.allow_special` allows it. The caller chooses the string that marks a blank.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from gen.data.objectives import mixture
from gen.data.tokenizers.tokenizer import SENTINELS
from gen.errors import UserError
from gen.generation import special_tokens
from gen.generation.decoding import context_window, decode, decoders, infilling
from gen.generation.decoding.sampling import Sampler
from gen.generation.loaded_model import LoadedModel
from gen.interop.tokenizers import PretrainedTokenizer, model_vocab

BLANK = "___"


class TextAnswer(NamedTuple):
  """Generated text.

  Attributes:
    text: decoded, without the stop string.
    tokens: new ids.
    log_probability: of the new tokens in the unfiltered distribution, nats.
    stopped: whether a stop token or string ended it.
  """

  text: str
  tokens: np.ndarray
  log_probability: float
  stopped: bool


def prompt_ids(restored: LoadedModel, text: str, blank: str = BLANK) -> np.ndarray:
  """Returns the model's input ids of a prompt.

  Raises:
    UserError: for an empty prompt, or one that UTF-8 cannot encode.
  """
  if not text:
    raise UserError("the prompt is empty; give some text to continue")
  tokenizer, how = restored.tokenizer, restored.reading
  if not how.head:
    raise UserError(
      f"{restored.where} contains a model without a language-model head, which cannot generate text"
    )
  fills = restored.model.family in ("encoder", "encoder_decoder")
  first, *others = text.split(blank) if fills else [text]
  ids = [*how.before, *_piece(restored, first, bool(others))]
  for index, piece in enumerate(others):
    ids += [_hole(restored, index), *_piece(restored, piece, index + 1 < len(others))]
  if len(ids) == len(how.before) and (text.strip() or not ids):
    raise UserError("the tokenizer has no ids for this prompt; use characters of its vocabulary")
  # UL2's mode tokens are the tokenizer's last sentinels (`gen.data.objectives.mixture`).
  # Each row of its training began with a mode (arXiv:2205.05131, mode switching), so a prompt without one is unlike
  # all.
  if how.objective == "ul2":  # the mode of short spans, or of continuing a text
    mode = mixture.MODES.index("R" if others else "S") - len(mixture.MODES)
    ids = [tokenizer.sentinel(SENTINELS + mode), *ids] + ([] if others else [_hole(restored, 0)])
  ids += how.after
  if others and max(ids) >= restored.model.vocab:
    raise UserError(f"the model's vocabulary of {restored.model.vocab} has no id for a blank {blank!r}")
  if isinstance(tokenizer, PretrainedTokenizer):
    model_vocab.check_ids(tokenizer, np.array(ids), restored.model.vocab)
  return np.array(ids, np.int32)


def _piece(restored: LoadedModel, text: str, before_blank: bool) -> np.ndarray:
  """Returns the ids of a text; marks of other libraries' tokenizers absorb the space before them."""
  tokenizer = restored.tokenizer
  # "is" and " is" are different words of most vocabularies; a mark of these tokenizers stands for the word with its
  # space.
  text = text.rstrip() if before_blank and isinstance(tokenizer, PretrainedTokenizer) else text
  return special_tokens.encode_with_special(tokenizer, text, restored.reading.special)


def _hole(restored: LoadedModel, index: int) -> int:
  if restored.reading.objective in ("span_corruption", "span_corruption_bytes", "ul2"):
    modes = len(mixture.MODES) if restored.reading.objective == "ul2" else 0
    try:
      if index >= SENTINELS - modes:
        raise ValueError(index)
      return restored.tokenizer.sentinel(index)
    except ValueError:
      raise UserError(
        f"the prompt has more than {index} blanks, which is the tokenizer's maximum; use fewer"
      ) from None
  if restored.tokenizer.mask is None:
    raise UserError("the prompt has a blank, but the tokenizer has no mask token; take a checkpoint with one")
  return restored.tokenizer.mask


def count_tokens(restored: LoadedModel, text: str, new: int, blank: str = BLANK) -> context_window.WindowUse:
  """Returns the window's count of a prompt and `new` tokens; targets have a separate window."""
  prompt = len(prompt_ids(restored, text, blank))
  # Their targets do not share the window of the prompt.
  if restored.model.family in ("encoder", "encoder_decoder"):
    new = 0
  return context_window.WindowUse(prompt, new, decoders.window_length(restored.model))


def stream_answers(
  restored: LoadedModel,
  texts: Sequence[str],
  sampler: Sampler,
  key: Array,
  *,
  blank: str = BLANK,
  every: int = 0,
  stop_strings: tuple[str, ...] = (),
  **limits: Any,
) -> Iterator[list[TextAnswer]]:
  """Yields partial answers to all prompts every few tokens; the last ones are complete.

  Args:
    restored: from `loaded_model.load_model`.
    texts: prompts.
    sampler: its settings.
    key: of all randomness.
    blank: the mark of a blank in prompts of models that fill blanks.
    every: tokens between two yields; 0 yields complete answers only.
    stop_strings: texts that end an answer and are not part of it.
    **limits: of `decode.DecodeLimits`: max_tokens, min_tokens, window.

  Raises:
    UserError: for an invalid prompt or setting.
  """
  prompts = [prompt_ids(restored, text, blank) for text in texts]
  if restored.model.family == "encoder":
    yield _filled(restored, prompts, sampler, key)
    return
  options: dict[str, Any] = {
    "start": restored.reading.start,
    "prefix": restored.reading.prefix,
    "stop_tokens": restored.reading.stop,
    "stop_strings": stop_strings,
    "constraints": restored.reading.constraints,
    "decode": lambda ids: detokenize(restored, ids),
    **limits,
  }
  module, limit = restored.module, options.get("max_tokens", decode.DecodeLimits.max_tokens)
  # With stop strings the text is looked at now and then; without, nothing could end it early, so it is one chunk.
  pace = every or (decode.TOKENS_PER_CHUNK if stop_strings else limit)
  for generated in decode.stream_tokens(
    module, restored.params, prompts, sampler, key, every=pace, **options
  ):
    written = [_answer(restored, generated, row, stop_strings) for row in range(len(prompts))]
    if every:
      yield written
  if not every:
    yield written


def _answer(
  restored: LoadedModel, generated: decode.GeneratedTokens, row: int, stop_strings: tuple[str, ...]
) -> TextAnswer:
  tokens = generated.rows()[row]
  text = detokenize(restored, tokens)
  # The earliest of several stop strings ends the text, and is not part of it.
  places = [text.index(stop) for stop in stop_strings if stop in text] if generated.stopped_b[row] else []
  text = text[: min(places)] if places else text
  return TextAnswer(
    text, tokens, float(generated.log_probabilities_bn[row].sum()), bool(generated.stopped_b[row])
  )


def _filled(
  restored: LoadedModel, prompts: list[np.ndarray], sampler: Sampler, key: Array
) -> list[TextAnswer]:
  tokenizer = restored.tokenizer
  # A special token or an id without one would leave a hole in the text.
  marks = [i for i in range(restored.model.vocab) if i >= tokenizer.vocab or tokenizer.is_special(i)]
  filled = infilling.fill_masks(
    restored.module, restored.params, prompts, tokenizer.mask, sampler, key, order="surest", banned=marks
  )
  return [
    TextAnswer(tokenizer.decode(ids), ids[prompt == tokenizer.mask], float(log.sum()), True)
    for ids, log, prompt in zip(filled.texts, filled.log_probabilities, prompts, strict=True)
  ]


def detokenize(restored: LoadedModel, ids: np.ndarray) -> str:
  """Returns the text of new ids; an encoder-decoder's special ids are shown, except the last."""
  tokenizer = restored.tokenizer
  known = [int(number) for number in ids if number < tokenizer.vocab and number not in restored.reading.stop]
  return tokenizer.decode(known, keep_special=restored.model.family == "encoder_decoder")


def without_partial_stop(text: str, stop_strings: tuple[str, ...] = ()) -> str:
  r"""Returns a growing text without an incomplete character or stop string at its end, which may still change.

  >>> without_partial_stop("so far\N{REPLACEMENT CHARACTER}")
  'so far'
  >>> without_partial_stop("so far EN", ("END",))
  'so far '
  """
  # A character of several bytes may be split between tokens: its first bytes decode to a replacement character.
  text = text.rstrip("\N{REPLACEMENT CHARACTER}")
  # The longest beginning of a stop string at the end of the text is held back until more is known.
  held = [length for stop in stop_strings for length in range(1, len(stop)) if text.endswith(stop[:length])]
  return text[: len(text) - max(held, default=0)]
