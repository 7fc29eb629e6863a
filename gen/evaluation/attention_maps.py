"""Attention weights of every head and layer, in all families, as computed by the model.

L depth, B batch, H heads, T query, S key.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from gen.config import Model
from gen.data.tokenizers.tokenizer import Tokenizer
from gen.errors import UserError
from gen.models import language_model
from gen.models.transformer import INTERMEDIATES

Ids = tuple[int, ...]
# The kinds of attention by stack and module, in order of computation.
KINDS = {
  ("source", "attention"): "source",
  ("target", "attention"): "self",
  ("target", "cross_attention"): "cross",
}


class AttentionMap(NamedTuple):
  """One kind of attention over one text.

  Attributes:
    kind: self | source (an encoder-decoder's encoder) | cross.
    weights_lhts: rows sum to 1; masked keys are 0.
    queries: T tokens, as they are shown.
    keys: S tokens.
  """

  kind: str
  weights_lhts: np.ndarray
  queries: tuple[str, ...]
  keys: tuple[str, ...]


def attention_weights(model: Model, params: Any, **arguments: Any) -> dict[str, jax.Array]:
  """Returns the attention weights [L, B, H, T, S], float32, of each kind that a model has.

  Args:
    model: a transformer's config.
    params: its parameters.
    arguments: what the module reads: inputs_bt, segments_bt, source_bs ..., see `language_model.LanguageModel.states`.

  Raises:
    UserError: for a model without attention.
  """
  if model.family not in ("encoder", "decoder", "encoder_decoder"):
    raise UserError(f"a model of family {model.family} has no attention; give a transformer")

  def run(params: Any, arguments: dict[str, Any]) -> Any:
    # The weights of the very computation, which `sow` stores, and not a second one that could differ from it.
    _, variables = language_model.build_model(model).apply(
      {"params": params}, **arguments, method="states", mutable=[INTERMEDIATES]
    )
    return variables[INTERMEDIATES]

  seen = jax.jit(run)(params, arguments)
  weights = {}
  for (stack, module), kind in KINDS.items():
    layer = seen.get(stack, {}).get("stack", {}).get("layers", {}).get(module)
    if layer is not None:
      # flax's sow collects a tuple, here of the one call.
      (weights[kind],) = layer["weights"]
  return weights


def read_maps(
  model: Model,
  params: Any,
  tokenizer: Tokenizer,
  text: str,
  target: str = "",
  start: Ids = (),
  frame: tuple[Ids, Ids] | None = None,
) -> list[AttentionMap]:
  """Returns the maps of a text.

  Args:
    model: a transformer's config.
    params: its parameters.
    tokenizer: that it was trained with.
    text: input of an encoder or decoder, or an encoder-decoder's source.
    target: output of an encoder-decoder; empty: the text again.
    start: first ids of its decoder; empty: the tokenizer's pad.
    frame: ids before and after the text; None: as in training.

  Raises:
    UserError: for an empty text, or one longer than the learned positions.
  """
  # A decoder's text may go on, so no end mark follows it.
  words = _framed(
    tokenizer, text, frame or ((tokenizer.bos,), (tokenizer.eos,) if model.family != "decoder" else ())
  )
  _require_room(model, words, text)
  if model.family != "encoder_decoder":
    weights = attention_weights(model, params, inputs_bt=words[None])
    labels = show_tokens(tokenizer, words)
    return [
      AttentionMap(kind, np.asarray(kind_weights[:, 0]), labels, labels)
      for kind, kind_weights in weights.items()
    ]
  inputs = np.concatenate([np.array(start or (tokenizer.pad,), np.int32), tokenizer.encode(target or text)])
  _require_room(model, inputs, target or text)
  weights = attention_weights(model, params, inputs_bt=inputs[None], source_bs=words[None])
  sides = {"source": show_tokens(tokenizer, words), "self": show_tokens(tokenizer, inputs)}
  return [
    AttentionMap(kind, np.asarray(kind_weights[:, 0]), sides["source" if kind == "source" else "self"],
        sides["self" if kind == "self" else "source"])
    for kind, kind_weights in weights.items()
  ]  # fmt: skip


def _framed(tokenizer: Tokenizer, text: str, frame: tuple[Ids, Ids]) -> np.ndarray:
  if not text:
    raise UserError("the text is empty; give a sentence")
  return np.array([*frame[0], *tokenizer.encode(text), *frame[1]], np.int32)


def _require_room(model: Model, ids: np.ndarray, text: str) -> None:
  if model.positions == "learned" and len(ids) > model.context:
    raise UserError(
      f"{text[:30]!r} has {len(ids)} tokens with the special ones, but the model has {model.context} learned positions;"
      " shorten it"
    )


def show_tokens(tokenizer: Tokenizer, ids: np.ndarray) -> tuple[str, ...]:
  """Returns tokens in a readable form: spaces as ␣, other blanks by their escapes, special ones by their names.

  Incomplete characters are shown as hexadecimal bytes.
  """
  marks = {" ": "␣", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
  labels = []
  for number in ids.tolist():
    name = tokenizer.name(number)
    if not tokenizer.is_special(number):
      name = "".join(
        marks.get(letter, letter if letter.isprintable() else repr(letter)[1:-1]) for letter in name
      )
    labels.append(name)
  return tuple(labels)
