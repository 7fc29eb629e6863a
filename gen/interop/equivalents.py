"""Other forms of a model that compute the same function, for architectures that have no exact place for it.

- Biases that an architecture has and the model lacks are zeros.
- LayerNorm without bias is RMSNorm where its input has the mean 0. So the mean over the width is subtracted from
  everything that is added to the residual stream: the embedding, and the outputs of attention and feed-forward
  (arXiv:2401.15024, section 3.1). Norms subtract it anyway; nothing else may read the stream.

D width.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from gen.config import Model
from gen.interop import parameters
from gen.models import language_model

_STACK = "target/stack/layers"
# What is added to the residual stream, with D as last axis.
_ADDED = (
  "embedding/embedding",
  "target/embeddings/positions/embedding",
  f"{_STACK}/attention/out/kernel",
  f"{_STACK}/attention/out_bias",
  f"{_STACK}/feed_forward/out/kernel",
  f"{_STACK}/feed_forward/out/bias",
)


def find_equivalents(model: Model) -> Iterator[tuple[Model, str]]:
  """Yields other forms of a model, and what is changed for it, as a sentence."""
  if model.norm == "layernorm" and not model.norm_bias:
    zeros = "its missing biases are written as zeros"
    yield dataclasses.replace(model, norm_bias=True), zeros
    yield dataclasses.replace(model, norm_bias=True, bias=True), zeros
  if _can_center(model):
    centered = dataclasses.replace(model, norm="rmsnorm")
    yield centered, "its LayerNorm is written as RMSNorm of a residual stream whose mean is 0"


def _can_center(model: Model) -> bool:
  return (
    model.family == "decoder"
    and model.norm == "layernorm"
    and not model.norm_bias
    and model.norm_placement == "pre"
    and model.final_norm
    # A tied head reads the embedding itself, so centring it would change the logits. The other parts are
    # added to the stream without a matrix that could be centred.
    and not (model.tied or model.embedding_norm or model.token_types)
    and model.positions != "sinusoidal"
  )


def convert_parameters(
  flat: Mapping[str, np.ndarray], model: Model, equivalent: Model
) -> dict[str, np.ndarray]:
  """Returns the parameters of an equivalent form.

  Args:
    flat: parameters by path.
    model: that they belong to.
    equivalent: the form, one of `find_equivalents`, or the model itself.
  """
  converted = dict(flat)
  if equivalent.norm != model.norm:
    for path in _ADDED:
      if path in converted:
        # float64, so that a row's mean is 0 to the last digit of the stored type.
        wide = converted[path].astype(np.float64)
        converted[path] = (wide - wide.mean(axis=-1, keepdims=True)).astype(converted[path].dtype)
  if (equivalent.bias, equivalent.norm_bias) != (model.bias, model.norm_bias):
    shapes = parameters.flatten_tree(language_model.parameter_shapes(equivalent))
    for path, leaf in shapes.items():
      if path not in converted:
        converted[path] = np.zeros(leaf.shape, next(iter(flat.values())).dtype)
  return converted
