"""The frozen base of QLoRA (arXiv:2305.14314): kernels of layers in 4 or 8 bits, tables and heads in 16.

Adapters are trained beside it in float32. The base has no gradients and no moments, and no float32 copy of it exists
while a step runs. Scales are float32, one for each 64 inputs of an output in 4 bits; they are not quantized again.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gen.config import Model
from gen.errors import UserError
from gen.finetuning.settings import FinetuneSettings
from gen.generation.loaded_model import LoadedModel
from gen.models import language_model
from gen.precision.quantized_array import QuantizedArray, dequantize_tree, is_quantized
from gen.quantization import model_quantization, quantized_memory
from gen.quantization.model_scheme import ModelScheme, parse_scheme


def prepare_base(loaded: LoadedModel, settings: FinetuneSettings) -> LoadedModel:
  """Returns the model that adapters are trained on: with a base of fewer bits where the settings say so.

  Raises:
    UserError: for a model that is quantized already and a method or format that it has not, or that has no kernels to
      quantize.
  """
  if is_quantized(loaded.params):
    _check_quantized(loaded, settings)
    # A pooler is trained with the task's head, and integers have no gradient.
    pool = {"pool": dequantize_tree(loaded.params["pool"])} if "pool" in loaded.params else {}
    return loaded._replace(params={**loaded.params, **pool})
  if not settings.base_format:
    return loaded
  return loaded._replace(params=quantize_base(loaded.params, loaded.model, settings.base_format))


def quantize_base(params: Any, model: Model, format: str) -> Any:
  """Returns parameters with kernels of layers in a format, and tables of embeddings and the head in bfloat16.

  Args:
    params: float32.
    model: its config.
    format: int8 | int4 | nf4.

  Raises:
    UserError: for weights that are not finite, or a model without a kernel that can be quantized.
  """
  made = model_quantization.quantize_model(params, model, _scheme(format)).params
  return _narrow_tables(made, params)


def base_shapes(model: Model, format: str) -> Any:
  """Returns the shapes of `quantize_base`'s parameters; allocates nothing."""
  shapes = language_model.parameter_shapes(model)
  return _narrow_tables(quantized_memory.quantized_shapes(model, _scheme(format)), shapes)


def _scheme(format: str) -> ModelScheme:
  return parse_scheme(format, "none", "", embeddings="float32", head="float32")


def _narrow_tables(made: Any, params: Any) -> Any:
  """Returns a quantized tree with its float tables and head in bfloat16, and a pooler as it was: heads train it."""

  def narrow(path: Any, leaf: Any) -> Any:
    # Norms and biases stay float32: they are few, and QLoRA computes in 16 bits around them.
    if isinstance(leaf, QuantizedArray) or str(path[-1].key) not in ("embedding", "kernel"):
      return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
      return jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16)
    return jnp.asarray(leaf, jnp.bfloat16)

  narrowed = jax.tree_util.tree_map_with_path(
    narrow, made, is_leaf=lambda leaf: isinstance(leaf, QuantizedArray)
  )
  return narrowed | ({"pool": params["pool"]} if "pool" in params else {})


def _check_quantized(loaded: LoadedModel, settings: FinetuneSettings) -> None:
  if settings.method_name != "lora":
    raise UserError(
      f"{loaded.where} holds quantized weights, which have no gradients; set method to lora, or start from the "
      "checkpoint that it was quantized from"
    )
  if settings.base_format or settings.quantize_weights != "none":
    name = "base_format" if settings.base_format else "quantize_weights"
    raise UserError(f"{loaded.where} holds quantized weights already; leave out {name}")
  arrays = jax.tree.leaves(loaded.params, is_leaf=lambda leaf: isinstance(leaf, QuantizedArray))
  if any(isinstance(array, QuantizedArray) and array.activations != "none" for array in arrays):
    raise UserError(
      f"{loaded.where} rounds activations to int8, which has no gradient; quantize its weights alone "
      "(--activations=none)"
    )
