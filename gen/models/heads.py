"""Models with a head for classification, tagging or answer spans in the place of the language-model head.

The parameters are the model's own tree, without its language-model head, and the head's parameters under "head":

    output/kernel [D, K], output/bias [K]     logits
    dense/kernel [D, D], dense/bias [D]       the layer before them, if `HeadConfig.hidden` is dense
    transform, transform_norm                 the same as in a masked-language-model head, if it is transform

BERT's pooler stays where the model has it, under "pool". Padding is segment 0; no logit of a text depends on it.

B batch, T length, S source length, D width, K labels.
"""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.config.heads import HeadConfig
from gen.errors import UserError
from gen.models import language_model, layers


class TaskHead(nn.Module):
  """Maps pooled or single hidden states [..., D] to logits [..., K], float32."""

  config: Model
  head_config: HeadConfig

  def setup(self) -> None:
    """Creates the parameters of the config."""
    cfg, head = self.config, self.head_config
    if head.hidden == "dense":
      self.dense = layers.Dense(cfg.width, cfg.width, ("embed", "mlp"), True, cfg.initializer_scale)
    if head.hidden == "transform":
      self.transform = layers.Dense(cfg.width, cfg.width, ("embed", "mlp"), cfg.bias, cfg.initializer_scale)
      self.transform_norm = layers.make_norm(dataclasses.replace(cfg, dtype="float32"))
    # The K labels are few and need not divide by the devices, so their axis has no name and is never split.
    self.output = layers.Dense(cfg.width, head.outputs, ("embed", None), head.bias, cfg.initializer_scale)

  def __call__(self, x: Array) -> Array:
    """Returns the logits."""
    # The head is small, and its logits decide; it is computed in float32 whatever the model's type is.
    x = x.astype(jnp.float32)
    if self.head_config.hidden == "transform":
      x = self.transform_norm(layers.find_activation("gelu")(self.transform(x)))
    x = self._drop(x)
    if self.head_config.hidden == "dense":
      # tanh and dropout on both sides, as in RoBERTa's and BART's heads of transformers.
      x = self._drop(jnp.tanh(self.dense(x)))
    return cast(Array, self.output(x))

  def _drop(self, x: Array) -> Array:
    return layers.apply_dropout(dataclasses.replace(self.config, dropout=self.head_config.dropout), x, self)


class HeadedModel(language_model.LanguageModel):
  """A model whose call returns the logits of a task."""

  # Fields of a module without defaults follow those of its base; flax makes a dataclass of the class.
  head_config: HeadConfig = HeadConfig("span")

  def make_head(self) -> TaskHead:
    """Returns the head of the task."""
    return TaskHead(self.config, self.head_config)

  def __call__(  # type: ignore[override]
    self,
    inputs_bt: Array,
    segments_bt: Array | None = None,
    positions_bt: Array | None = None,
    pooled_bt: Array | None = None,
    **others: Array | None,
  ) -> Array:
    """Returns logits, float32: [B, K] of `classify`, [B, T, K] of `tag`, [B, T, 2] of `span`.

    Args:
      inputs_bt: token ids; of an encoder-decoder the decoder's, see `decoder_inputs`.
      segments_bt: 1 for text, 0 for padding at either end of a row; None: no padding.
      positions_bt: position of each token; None counts from a row's first token that is no padding.
      pooled_bt: 1 for the tokens that are pooled; None: all that are no padding.
      others: as in `LanguageModel.states`: token_types_bt, source_bs, source_segments_bs ...

    A head's dropout and the model's need the random key "dropout" (`rngs`); without it there is none.
    """
    if positions_bt is None and segments_bt is not None and self.config.positions not in _BY_DISTANCE:
      # Counted from the first token that is no padding, so a row gives the same logits whichever side is padded.
      positions_bt = jnp.maximum(jnp.cumsum(segments_bt > 0, axis=1) - 1, 0)
    x_btd = self.states(inputs_bt, segments_bt=segments_bt, positions_bt=positions_bt, **others)
    head = self.head_config
    if head.kind != "classify":
      return self.head(x_btd)
    if pooled_bt is None:
      pooled_bt = jnp.ones_like(inputs_bt) if segments_bt is None else segments_bt > 0
    x_bd = pool_states(x_btd, pooled_bt, head.pooling)
    return self.head(self.pooled(x_bd[:, None]) if head.hidden == "pooler" else x_bd)


# Distances between columns are the same whatever the padding on a side; one bias then serves all rows.
_BY_DISTANCE = (*language_model.DISTANCES, "transformer_xl")


def pool_states(x_btd: Array, pooled_bt: Array, pooling: str) -> Array:
  """Returns one vector [B, D] of each row: its first or last token, or the mean of its tokens.

  Args:
    x_btd: hidden states.
    pooled_bt: 1 for the tokens that count; a row without any gets its first column, or the mean 0.
    pooling: `first`, `last` or `mean`.
  """
  pooled_bt = pooled_bt > 0
  if pooling == "mean":
    weights_bt = pooled_bt.astype(jnp.float32)
    # Padding may hold any value, so it is left out of the sum, not multiplied by 0.
    sum_bd = jnp.where(pooled_bt[..., None], x_btd.astype(jnp.float32), 0.0).sum(1)
    return sum_bd / jnp.maximum(weights_bt.sum(1, keepdims=True), 1.0)
  if pooling == "first":
    # argmax of booleans is the first true one.
    index_b = jnp.argmax(pooled_bt, axis=1)
  else:
    length = pooled_bt.shape[1]
    index_b = jnp.where(pooled_bt.any(1), length - 1 - jnp.argmax(pooled_bt[:, ::-1], axis=1), 0)
  return jnp.take_along_axis(x_btd, index_b[:, None, None], axis=1)[:, 0]


def decoder_inputs(source_bs: Array, start: int) -> Array:
  """Returns the decoder's inputs for a text that an encoder-decoder classifies: the text after the start token.

  BART reads the text in both stacks and classifies by the decoder's last position (arXiv:1910.13461, section 3.1).
  """
  return jnp.concatenate([jnp.full_like(source_bs[:, :1], start), source_bs[:, :-1]], axis=1)


def body_config(config: Model, head: HeadConfig) -> Model:
  """Returns the config of a model without a language-model head, with the pooler if the head reads it.

  Raises:
    UserError: for a family of the user's own, whose hidden states may have any form.
  """
  if ":" in config.family:
    raise UserError(f"model.family {config.family} is code of your own, which has no heads for tasks")
  # A tied head has no parameters of its own.
  return dataclasses.replace(
    config, tied=True, head_transform=False, head_activation="", head_bias=False, logits_scale=1.0,
    logits_soft_cap=0.0, pooler=head.hidden == "pooler", carry=False,
  )  # fmt: skip


def build_headed_model(config: Model, head: HeadConfig) -> language_model.LanguageModel:
  """Returns the module of a model with a head; of kind `none`, the language model itself.

  Args:
    config: of the model, with its vocabulary; what it says of a language-model head is ignored.
    head: the head.

  Raises:
    UserError: for a family of the user's own.
  """
  if head.kind == "none":
    return language_model.build_model(config)
  return HeadedModel(body_config(config, head), head)


def initialize_head(config: Model, head: HeadConfig, key: Array) -> dict[str, Any]:
  """Returns the parameters of a head, float32: what stands under "head" in the tree; empty for kind `none`."""
  if head.kind == "none":
    return {}
  variables = TaskHead(config, head).init(key, jnp.zeros((1, config.width)))
  return dict(nn.meta.unbox(variables["params"]))


def attach_head(params: Any, config: Model, head: HeadConfig, key: Array) -> dict[str, Any]:
  """Returns a model's parameters with a fresh head in the place of its language-model head.

  A pooler that the head reads and the model lacks is drawn too; one that the head does not read is left out. A layer
  `transform` is that of the language-model head, if there is one.

  Args:
    params: of `language_model.build_model(config)`, or of a model with another head.
    config: of the model.
    head: the new head.
    key: of the values that are drawn.
  """
  if head.kind == "none":
    return dict(params)
  # A key of its own for the pooler, so that the head's values do not depend on whether a pooler is drawn.
  head_key, pool_key = jax.random.split(key)
  body = {name: value for name, value in params.items() if name not in ("head", "pool")}
  if head.hidden == "pooler":
    body["pool"] = params["pool"] if "pool" in params else _fresh_pooler(config, pool_key)
  fresh = initialize_head(config, head, head_key)
  known = params.get("head", {}) if head.hidden == "transform" else {}
  return body | {
    "head": fresh | {name: known[name] for name in ("transform", "transform_norm") if name in known}
  }


def _fresh_pooler(config: Model, key: Array) -> dict[str, Any]:
  dense = layers.Dense(config.width, config.width, ("embed", "mlp"), True, config.initializer_scale)
  return dict(nn.meta.unbox(dense.init(key, jnp.zeros((1, config.width)))["params"]))


def initialize_headed_parameters(config: Model, head: HeadConfig, key: Array) -> Any:
  """Returns the parameters of a model with a head, all drawn from the key."""
  model_key, head_key = jax.random.split(key)
  if head.kind == "none":
    return language_model.initialize_parameters(config, model_key)
  body = language_model.initialize_parameters(body_config(config, head), model_key)
  return attach_head(body, config, head, head_key)


def headed_parameter_shapes(config: Model, head: HeadConfig) -> Any:
  """Returns the parameters' tree of a model with a head as shapes, allocating nothing."""
  return jax.eval_shape(lambda: initialize_headed_parameters(config, head, jax.random.key(0)))
