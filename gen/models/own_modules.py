"""Parts of a model that are the user's own code: flax modules and functions that its config names.

    model.block                Block(config, causal)          (x_btd, inputs) -> x_btd
    model.attention_module     Attention(config, causal)      (x_btd, inputs) -> what is added to x_btd
    model.feed_forward_module  FeedForward(config)            (x_btd) -> what is added to x_btd
    model.activation           function                       x -> x, element by element
    model.positions            function                       (positions_bt, config) -> angles_btk, of rotary positions
                                                              (queries_bt, keys_bs, config) -> bias_bhts, of scores
    model.family               Family(config)                 hidden(inputs_bt, **others) -> x_btd,
                                                              head_weights() -> kernel_dv, bias_v or None

A module may lack the field `causal`. B batch, T query, S key, D width, H heads, K half of a head's width, V vocab.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.errors import UserError
from gen.io import user_code
from gen.models.kv_cache import CacheSlots

ANGLES, BIAS = 2, 3  # how many arguments a function of positions takes


class OwnBlock(nn.Module):
  """A block, or a part of one, of the user's own, whose result is checked.

  Attributes:
    config: of the model.
    field: of the config that names the module.
    causal: whether a position is to see none that comes later.
  """

  config: Model
  field: str
  causal: bool = False

  def setup(self) -> None:
    """Makes the module."""
    self.own = make_module(self.config, self.field, self.causal)

  def __call__(self, x_btd: Array, *inputs: Any) -> Array:
    """Returns what the module returns for the residual stream and, of all but a feed-forward, `AttentionInputs`."""
    what = _describe(self.config, self.field)
    with user_code.errors_of(what):
      y_btd = self.own(x_btd, *inputs)
    if getattr(y_btd, "shape", None) != x_btd.shape:
      raise UserError(f"{what} returns {_shown(y_btd)}; it must return an array of shape {x_btd.shape}")
    # The user's module may compute in float32. A scan over layers needs the same dtype before and after a block.
    return y_btd.astype(x_btd.dtype)


class OwnFamily(nn.Module):
  """A whole model of the user's own behind the interface of `language_model.LanguageModel`."""

  config: Model

  def setup(self) -> None:
    """Makes the module."""
    self.own = make_module(self.config, "model.family", causal=True)
    for method in ("hidden", "head_weights"):
      if not hasattr(self.own, method):
        raise UserError(
          f"{_describe(self.config, 'model.family')} has no method {method}; see docs/extending.md"
        )

  def hidden(self, inputs_bt: Array, **others: Array | None) -> Array:
    """Returns hidden states [B, T, D] ready for the product with `head_weights`."""
    what = _describe(self.config, "model.family")
    with user_code.errors_of(f"{what}: hidden"):
      # Absent fields are left out, so that a family declares only those that it reads.
      present = {name: value for name, value in others.items() if value is not None}
      x_btd = self.own.hidden(inputs_bt, **present)
    wanted = (*inputs_bt.shape, self.config.width)
    if getattr(x_btd, "shape", None) != wanted:
      raise UserError(f"{what}: hidden returns {_shown(x_btd)}; it must return an array of shape {wanted}")
    return x_btd

  def head_weights(self) -> tuple[Array, Array | None]:
    """Returns the output kernel as [D, V] and its bias [V] or None."""
    what, wanted = _describe(self.config, "model.family"), (self.config.width, self.config.vocab)
    with user_code.errors_of(f"{what}: head_weights"):
      kernel_dv, bias_v = self.own.head_weights()
    if kernel_dv.shape != wanted:
      raise UserError(
        f"{what}: head_weights returns a kernel of shape {kernel_dv.shape}; it must be {wanted}"
      )
    return kernel_dv, bias_v

  def __call__(self, inputs_bt: Array, **others: Array | None) -> Array:
    """Returns logits [B, T, V], float32."""
    x_btd = self.hidden(inputs_bt, **others)
    kernel_dv, bias_v = self.head_weights()
    logits_btv = jnp.matmul(x_btd, kernel_dv.astype(x_btd.dtype), preferred_element_type=jnp.float32)
    logits_btv = logits_btv if bias_v is None else logits_btv + bias_v
    cap = self.config.logits_soft_cap
    return cap * jnp.tanh(logits_btv / cap) if cap else logits_btv


def make_module(config: Model, field: str, causal: bool) -> Any:
  """Returns the module that a field of the config names.

  Raises:
    UserError: for a reference that cannot be imported, or that is no flax module of a config.
  """
  kind = user_code.load_object(_reference(config, field), field)
  if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
    raise UserError(f"{_describe(config, field)} is no subclass of flax.linen.Module")
  known = {item.name for item in dataclasses.fields(kind) if item.init}
  if "config" not in known:
    raise UserError(f"{_describe(config, field)} has no field config; declare it as config: Model")
  with user_code.errors_of(_describe(config, field)):
    return kind(config=config, causal=causal) if "causal" in known else kind(config=config)  # type: ignore[call-arg]


def load_activation(name: str) -> Callable[[Array], Array]:
  """Returns an activation of the user's own, which keeps the shape and type of its array.

  Raises:
    UserError: for a reference that cannot be imported; once called, for a result of another shape.
  """
  function = user_code.load_object(name, "model.activation")

  def activate(x: Array) -> Array:
    with user_code.errors_of(f"model.activation {name}"):
      y = function(x)
    if getattr(y, "shape", None) != x.shape:
      raise UserError(f"model.activation {name} returns {_shown(y)}; it must keep the shape {x.shape}")
    return y.astype(x.dtype)

  return activate


def rotary_angles(config: Model, positions_bt: Array) -> tuple[Array, Array] | None:
  """Returns cosines and sines [B, 1, T, K] of the angles of the user's own positions; None if these are a bias."""
  function, arguments = _positions(config)
  if arguments != ANGLES:
    return None
  what = _describe(config, "model.positions")
  with user_code.errors_of(what):
    # Float32 as `layers.rotary_rates`: bfloat16 cannot represent integers above 256 exactly.
    angles_btk = jnp.asarray(function(positions_bt, config), jnp.float32)
  wanted = (*positions_bt.shape, config.head_width // 2)
  if angles_btk.shape != wanted:
    raise UserError(f"{what} returns {_shown(angles_btk)}; angles must have the shape {wanted}")
  return jnp.cos(angles_btk)[:, None], jnp.sin(angles_btk)[:, None]


def distance_bias(
  config: Model, length: int, positions_bt: Array | None, slots: CacheSlots | None
) -> Array | None:
  """Returns the bias [1 or B, 1 or H, T, S] of the user's own positions; None if these are angles.

  Args:
    config: of the model.
    length: of the new text.
    positions_bt: of its tokens; None counts them from 0.
    slots: where the cache keeps them, while text is generated.
  """
  function, arguments = _positions(config)
  if arguments != BIAS:
    return None
  if slots is not None:
    # Padding has negative positions, for which a function of the user need not be defined; the mask hides its scores.
    queries_bt = jnp.maximum(slots.new_positions(length), 0)
    keys_bs = queries_bt if slots.is_prefill else jnp.maximum(slots.positions_bs, 0)
  else:
    queries_bt = keys_bs = jnp.arange(length)[None] if positions_bt is None else positions_bt
  what = _describe(config, "model.positions")
  with user_code.errors_of(what):
    bias_bhts = jnp.asarray(function(queries_bt, keys_bs, config), jnp.float32)
  wanted = (len(queries_bt), config.n_heads, queries_bt.shape[1], keys_bs.shape[1])
  # Rows and heads may be broadcast, so a bias that all heads share is not copied.
  fits = bias_bhts.ndim == 4 and all(
    size in (1, full) for size, full in zip(bias_bhts.shape, wanted, strict=True)
  )
  if not fits or bias_bhts.shape[2:] != wanted[2:]:
    raise UserError(f"{what} returns {_shown(bias_bhts)}; a bias must have the shape {wanted}")
  return bias_bhts


def _positions(config: Model) -> tuple[Callable[..., Any], int]:
  """Returns the function of the user's own positions and how many arguments it takes."""
  function = user_code.load_object(config.positions, "model.positions")
  arguments = len(inspect.signature(function).parameters) if callable(function) else 0
  if arguments not in (ANGLES, BIAS):
    raise UserError(
      f"{_describe(config, 'model.positions')} takes {arguments} arguments; it must be a function of (positions_bt, "
      "config) that returns angles, or of (queries_bt, keys_bs, config) that returns a bias"
    )
  # A rotation turns pairs of numbers; with an odd width one number would have no partner.
  if arguments == ANGLES and config.head_width % 2:
    raise UserError(
      f"{_describe(config, 'model.positions')} turns pairs, and head_width {config.head_width} is odd"
    )
  return function, arguments


def reads_cache(config: Model) -> bool:
  """Returns whether every part of a model can read and write a KV cache, token by token.

  A module of the user's own says so by the attribute `cached = True`; a feed-forward sees each position by itself.
  """
  if ":" in config.family:
    return False
  # Positions and activations need no attribute: neither keeps anything between two tokens.
  fields = [field for field in ("model.block", "model.attention_module") if _reference(config, field)]
  return all(
    getattr(user_code.load_object(_reference(config, field), field), "cached", False) for field in fields
  )


def _reference(config: Model, field: str) -> str:
  return str(getattr(config, field.removeprefix("model.")))


def _describe(config: Model, field: str) -> str:
  return f"{field} {_reference(config, field)}"


def _shown(value: Any) -> str:
  shape = getattr(value, "shape", None)
  return f"a {type(value).__name__}" if shape is None else f"an array of shape {shape}"
