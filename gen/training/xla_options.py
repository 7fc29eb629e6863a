"""Compiler options of XLA for the programs of a step, where they differ from the defaults: only on a CPU."""

from typing import Any

from gen.config import Model
from gen.io import compiler_options

# XLA's CPU backend gives products and sums of rows to YNNPACK, by default each product alone. With this option it also
# fuses the operation that follows a product and reads only its result.
_FUSE_AFTER_PRODUCTS = {
  "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"
}


def options_once(platform: str) -> dict[str, Any]:
  """Returns compiler options for a program that runs once, such as the one that draws parameters.

  Args:
    platform: cpu, gpu or tpu.
  """
  # At width 30 drawing parameters took 5.65 s to compile, and 2.48 s at LLVM's level 1, with the same bits. Level 0
  # takes 1.8 s but gives other bits. The training step gains nothing from a lower level.
  return {"xla_backend_optimization_level": 1} if platform == "cpu" else {}


def step_options(model: Model, platform: str) -> dict[str, Any]:
  """Returns compiler options for a program of training steps; they override the same option in XLA_FLAGS.

  Args:
    model: shape of the model.
    platform: cpu, gpu or tpu.
  """
  # relu is fused with its product, so its input is never written; its gradient does not need it (see
  # `gradients.relu_from_output`). Encoder-decoder, width 128: 142 MiB in place of 163, 408 ms a step in place of 436,
  # together with one bias for all rows. Gradients of other activations read the input, so they gain nothing.
  applies = platform == "cpu" and model.activation == "relu" and not model.recurrent
  return (
    dict(_FUSE_AFTER_PRODUCTS) if applies and compiler_options.are_supported(**_FUSE_AFTER_PRODUCTS) else {}
  )
