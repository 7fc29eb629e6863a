"""Lion, Adafactor and SGD with momentum, assembled from optax; weight decay is decoupled and spares vectors."""

from typing import Any

import optax

from gen.config import Optimizer
from gen.optimizers.adamw import decay_mask
from gen.optimizers.update_rule import UpdateRule, from_optax


def make_lion(config: Optimizer) -> UpdateRule:
  """Returns Lion (arXiv:2302.06675); its authors take a third to a tenth of AdamW's rate, and beta2=0.99."""
  # Each number of an update is +1 or -1, so an update is larger than AdamW's at the same rate.
  return _with_decay(config, lambda: optax.scale_by_lion(config.beta1, config.beta2))


def make_adafactor(config: Optimizer) -> UpdateRule:
  """Returns Adafactor (arXiv:1804.04235): factored second moments, updates clipped and scaled by the parameter's RMS.

  optax factors the two longest axes of an array of at least 128 each; of a stack of layers deeper than it is wide, the
  layers are one of them.
  """

  # optax's defaults are the paper's proposed values: decay 1 - t^-0.8, epsilon_1 1e-30, epsilon_2 1e-3. So is the
  # threshold d = 1 of clipping. Its relative step size is left out: the rate is the schedule's.
  def make() -> optax.GradientTransformation:
    return optax.chain(
      optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0), optax.scale_by_param_block_rms()
    )

  return _with_decay(config, make)


def make_sgd(config: Optimizer) -> UpdateRule:
  """Returns stochastic gradient descent with Nesterov momentum."""
  # g + momentum m with m = momentum m + g: without dampening, the effective rate is 1 / (1 - momentum) times the rate.
  return _with_decay(config, lambda: optax.trace(config.momentum, nesterov=True))


def _with_decay(config: Optimizer, make_scaling: Any) -> UpdateRule:
  return from_optax(
    # The decay is added after the scaling and before the rate: decoupled, as AdamW's.
    lambda schedule: optax.chain(
      make_scaling(),
      optax.add_decayed_weights(config.weight_decay, decay_mask),
      optax.scale_by_learning_rate(schedule),
    )
  )
