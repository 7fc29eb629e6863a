"""Dynamic loss scaling for float16 (arXiv:1710.03740, section 3.2).

Gradients below 6e-8 are 0 in float16, and most of a network's gradients are small. So the loss is multiplied by a scale
before the backward pass, and gradients are divided by it in float32. A gradient that is not finite means that the scale
is too large: the step is skipped and the scale halved. After `GROWTH_INTERVAL` finite steps in a row it doubles.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

# The loss is a sum over tokens, so the scale multiplies the gradient of each token, and not that of their mean. Keras'
# LossScaleOptimizer begins with 2^15 on a mean. That number on a sum overflows: runs of all families came down to 2^8
# within 8 skipped steps (docs/notes/quantization.md). A scale that is too large costs a skipped step for each halving,
# one that is too small the smallest gradients.
INITIAL = 2.0**8
# Powers of two change the exponent alone, so scaling rounds no number that stays in range.
GROWTH, BACKOFF = 2.0, 0.5
GROWTH_INTERVAL = 2_000  # finite steps; the default of PyTorch's GradScaler as well
# Below 1 the loss would shrink gradients that are already too small. 2^24 is the largest in NVIDIA's apex.
MIN_SCALE, MAX_SCALE = 1.0, 2.0**24

# What a step computes in float32 whatever `model.dtype` is, and the function that casts it.
FLOAT32_PARTS = {
  "update of parameters": "gen.training.step.train_step",
  "parameters between steps, unless optimizer.param_dtype is bfloat16": "gen.training.step.initialize_state",
  "gradients of parameters, their sum over microbatches, their norm": "gen.training.step.batch_gradients",
  "moments, unless optimizer.moment_dtype is bfloat16": "gen.training.step.initialize_state",
  "embeddings and positions, until their sum is cast": "gen.models.layers.InputEmbeddings",
  "norms": "gen.models.layers.Norm",
  "scores and softmax of attention": "gen.kernels.gradients.softmax_attention",
  "logits, softmax and loss": "gen.kernels.losses.cross_entropy",
  "state of a recurrent model": "gen.kernels.recurrence.scan_layer",
}


class LossScale(NamedTuple):
  """The scale of the loss, part of the training state.

  Attributes:
    scale: float32.
    finite: steps with finite gradients since it last changed, int32.
    backoffs: steps that were skipped and halved it, int32.
  """

  scale: Any
  finite: Any
  backoffs: Any


def initial_scale(dtype: str) -> LossScale | None:
  """Returns the scale before the first step, or None for a dtype with the range of float32."""
  return LossScale(jnp.float32(INITIAL), jnp.int32(0), jnp.int32(0)) if dtype == "float16" else None


def scale_sharding(dtype: str, replicated: Any) -> LossScale | None:
  """Returns the sharding of `initial_scale`: every device holds it."""
  return LossScale(replicated, replicated, replicated) if dtype == "float16" else None


def scale_loss(loss: Array, scale: LossScale | None) -> Array:
  """Returns the loss whose gradient is computed."""
  return loss if scale is None else loss * scale.scale


def unscale_factor(scale: LossScale | None) -> Array | float:
  """Returns the factor on gradients of the scaled loss."""
  # Exact: the reciprocal of a power of two.
  return 1.0 if scale is None else 1 / scale.scale


def adjust_scale(scale: LossScale | None, finite: Array) -> LossScale | None:
  """Returns the scale for the next step.

  Args:
    scale: of this step.
    finite: whether its gradients were finite.

  >>> halved = adjust_scale(LossScale(jnp.float32(8), jnp.int32(5), jnp.int32(0)), jnp.bool_(False))
  >>> float(halved.scale), int(halved.finite), int(halved.backoffs)
  (4.0, 0, 1)
  """
  if scale is None:
    return None
  count = jnp.where(finite, scale.finite + 1, 0)
  # Selected and not branched on, so that the compiled step is one program.
  grows = count >= GROWTH_INTERVAL
  factor = jnp.where(finite, jnp.where(grows, GROWTH, 1.0), BACKOFF)
  backoffs = scale.backoffs + jnp.where(finite, 0, can_back_off(scale))
  return LossScale(jnp.clip(scale.scale * factor, MIN_SCALE, MAX_SCALE), jnp.where(grows, 0, count), backoffs)


def can_back_off(scale: LossScale | None) -> Array | int:
  """Returns 1 if a gradient that is not finite may be due to the scale, and 0 if the training itself diverges."""
  # At the smallest scale the loss is not scaled at all, so what overflows is the model itself.
  return 0 if scale is None else (scale.scale > MIN_SCALE).astype(jnp.int32)
