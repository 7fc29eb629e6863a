"""The block of every transformer here, and a stack of them.

A block is self-attention, cross attention where the stack has a memory, and a feed-forward, each inside a residual
branch. Pre-norm puts the norm at the entrance of a branch (GPT-2, T5), post-norm after the sum (BERT, BART).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.kernels import decode_weights
from gen.models import layers
from gen.models.attention import INTERMEDIATES, Attention, AttentionInputs
from gen.sharding import activation_sharding

# What the backward pass finds kept: everything ("none"), matrix products ("dots"), or only the residual stream.
REMAT = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}


class TransformerBlock(nn.Module):
  """One layer: residual stream in, residual stream out."""

  config: Model
  cross: bool = False
  causal: bool = False

  @nn.compact
  def __call__(
    self, x_btd: Array, context: AttentionInputs, layer: Array | None = None
  ) -> tuple[Array, None]:
    """Returns (residual stream, None), the shape of a scan's body; `layer` is the block's number, if it matters."""
    cfg = self.config
    context = context if layer is None else context._replace(layer=layer)
    x_btd = self._branch(
      x_btd, "attention", lambda x: Attention(cfg, self.causal, name="attention")(x, context)
    )
    if self.cross:
      cross = Attention(cfg, name="cross_attention")
      x_btd = self._branch(x_btd, "cross_attention", lambda x: cross(x, context, cross=True))
    x_btd = self._branch(x_btd, "feed_forward", layers.FeedForward(cfg, name="feed_forward"))
    return x_btd, None

  def _branch(self, x_btd: Array, name: str, change: Callable[[Array], Array]) -> Array:
    normalize = layers.make_norm(self.config, name=f"{name}_norm")
    is_pre = self.config.norm_placement == "pre"
    change_btd = activation_sharding.shard_activation(
      change(normalize(x_btd) if is_pre else x_btd), "batch", None, None
    )
    x_btd = x_btd + layers.apply_dropout(self.config, change_btd, self)
    return x_btd if is_pre else normalize(x_btd)


def unstack_layers(params: Any) -> Any:
  """Returns parameters whose stacks hold a tuple of layers in place of layers stacked along a first axis.

  Who generates runs the same layers for each token: a layer that is cut out of a stacked array inside that loop is
  copied each time, which costs more than the products with it. Only reading through a cache takes parameters so.
  """
  if not isinstance(params, Mapping):
    return params
  apart = {name: unstack_layers(value) for name, value in params.items()}
  stacked = apart["stack"].get("layers") if isinstance(apart.get("stack"), Mapping) else None
  if isinstance(stacked, Mapping):
    depth = len(jax.tree.leaves(stacked)[0])
    each = tuple(jax.tree.map(lambda x, index=index: x[index], stacked) for index in range(depth))
    apart["stack"] = {**apart["stack"], "layers": each}
  return apart


class LayerStack(nn.Module):
  """L blocks whose parameters are stacked along a first axis, and the last norm.

  `config.scan` compiles one block and loops over it; otherwise the loop is unrolled, which is faster at few
  layers. Both hold the same parameters and give the same numbers.
  """

  config: Model
  depth: int
  cross: bool = False
  causal: bool = False

  @nn.compact
  def __call__(self, x_btd: Array, context: AttentionInputs) -> Array:
    """Maps the embeddings to hidden states."""
    cfg = self.config
    if context.slots is not None:
      return self._finish(self._one_by_one(x_btd, context))
    block = TransformerBlock
    if cfg.remat != "none":
      block = nn.remat(TransformerBlock, policy=REMAT[cfg.remat], prevent_cse=not cfg.scan)
    numbers = (jnp.arange(self.depth),) if cfg.attention_scale_by_layer else ()
    scanned = nn.scan(
      block,
      variable_axes={"params": 0, INTERMEDIATES: 0},
      split_rngs={"params": True, "dropout": True},
      in_axes=(nn.broadcast, 0) if numbers else nn.broadcast,
      length=self.depth,
      unroll=1 if cfg.scan else self.depth,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    x_btd, _ = scanned(cfg, self.cross, self.causal, name="layers")(x_btd, context, *numbers)
    return self._finish(x_btd)

  def _finish(self, x_btd: Array) -> Array:
    if self.config.norm_placement == "pre" and self.config.final_norm:
      x_btd = layers.make_norm(self.config, name="norm")(x_btd)
    return x_btd

  def _one_by_one(self, x_btd: Array, context: AttentionInputs) -> Array:
    """Runs the layers with a cache each; caches that lie apart are written in place, stacked ones copied."""
    stacked: Any = self.get_variable("params", "layers")
    each = stacked if isinstance(stacked, tuple) else None
    block = TransformerBlock(self.config, self.cross, self.causal, parent=None)
    for index in range(self.depth):
      name = f"layer_{index}"
      params = each[index] if each else jax.tree.map(lambda x, index=index: x[index], stacked)
      variables = {
        "params": decode_weights.untranspose_kernels(params),
        "cache": self.get_variable("cache", name, {}),
      }
      context = context._replace(layer=index) if self.config.attention_scale_by_layer else context
      with decode_weights.transposed_weights(decode_weights.is_transposed(params)):
        (x_btd, _), changed = block.apply(variables, x_btd, context, mutable=["cache"])
      self.put_variable("cache", name, changed["cache"])
    return x_btd
