"""Bytes of a fine-tuning's state before it runs: full, last layers, head, LoRA, and QLoRA's base of fewer bits.

They equal the live arrays of the tuner to the byte. Activations come on top, as `gen.costs.activations` counts them.
"""

from typing import Any, NamedTuple

import jax

from gen.config import Model
from gen.config.heads import HeadConfig
from gen.finetuning import frozen_base, trained_part
from gen.finetuning.adapters import lora
from gen.finetuning.adapters.lora import LoraConfig
from gen.finetuning.settings import FinetuneSettings
from gen.models import heads, language_model
from gen.optimizers import make_update_rule
from gen.quantization import model_quantization


class TuningFootprint(NamedTuple):
  """Bytes of a fine-tuning on one device.

  Attributes:
    frozen: parameters that are not trained.
    trained: parameters that are, and adapters; float32.
    gradients: of these, while a step runs; float32.
    opt_state: moments of these.
  """

  frozen: int
  trained: int
  gradients: int
  opt_state: int

  @property
  def live(self) -> int:
    """Bytes between steps."""
    return self.frozen + self.trained + self.opt_state

  @property
  def state(self) -> int:
    """Bytes while a step runs, without activations."""
    return self.live + self.gradients


def tuning_footprint(model: Model, head: HeadConfig, settings: FinetuneSettings) -> TuningFootprint:
  """Returns the bytes of a fine-tuning's arrays; allocates nothing.

  Args:
    model: config of the model that it starts from.
    head: of the task; of kind none in the text form.
    settings: method, rank, targets and the base's format.

  Raises:
    UserError: for a method that the model does not have, or a target that matches no matrix.
  """
  if settings.base_format:
    body = frozen_base.base_shapes(model, settings.base_format)
  else:
    body = language_model.parameter_shapes(model)

  def split(params: Any) -> Any:
    key = jax.random.key(0)
    params = heads.attach_head(params, model, head, key)
    trained, frozen = trained_part.split_parameters(
      params, model, head, settings.method_name, settings.layers
    )
    if settings.method_name == "lora":
      config = LoraConfig(settings.rank, settings.alpha, settings.targets or LoraConfig.targets)
      trained[trained_part.ADAPTERS] = lora.initialize_adapters(params, config, key)
    return trained, frozen, make_update_rule(settings.optimizer_config).init(trained)

  # The tuner's own functions, traced on shapes alone: so the figures follow the code, and nothing is allocated.
  trained, frozen, opt_state = jax.eval_shape(split, body)
  count = model_quantization.count_bytes
  # Gradients have the shapes and the type of what is trained.
  return TuningFootprint(count(frozen), count(trained), count(trained), count(opt_state))
