"""The loss of a batch for every kind of head, as sums and weights.

    classify   cross entropy of the class                                        targets [B, 1]
               of problem regression: squared error of the number                targets [B, 1], float32
    tag        cross entropy of each token's tag, where a token has one          targets [B, T]
    span       cross entropy of the answer's first and of its last token         targets [B, 2]
    none       cross entropy of the next token, where it has loss                targets [B, T]

B rows, T positions, K labels.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array

from gen.batch import Batch
from gen.config import Model, Optimizer
from gen.config.heads import HeadConfig
from gen.kernels import losses
from gen.models import heads, language_model
from gen.training import step

# Not -inf: a row of padding alone would have NaN as its softmax, and 0 * NaN is NaN.
NEVER = -1e9  # logit of a position that is no token


class TaskSums(NamedTuple):
  """Sums over a batch; their quotient is the mean.

  Attributes:
    loss: weighted sum, nats; of regression, squared errors.
    weight: sum of the weights.
  """

  loss: Array
  weight: Array


def head_logits(model: Model, head: HeadConfig, params: Any, batch: Batch, key: Array | None = None) -> Array:
  """Returns the logits of a head, float32; dropout is applied if a key is passed."""
  module = heads.build_headed_model(model, head)
  rngs = None if key is None else {"dropout": key}
  arguments = language_model.batch_arguments(model, batch)
  return cast(Array, module.apply({"params": params}, **arguments, rngs=rngs))


def batch_loss(
  model: Model, head: HeadConfig, optimizer: Optimizer, params: Any, batch: Batch, key: Array | None = None
) -> TaskSums:
  """Returns the sums of a batch's loss; dropout and label smoothing are applied if a key is passed."""
  if head.kind == "none":
    terms = losses.LossTerms(soft_cap=model.logits_soft_cap, chunk=model.loss_chunk)
    # Evaluation has the plain loss, without smoothing and z-loss: it must not depend on them.
    terms = terms if key is None else step.loss_terms(model, optimizer)
    sums = step.batch_loss(model, terms, params, batch, key)
    return TaskSums(sums.loss, sums.weight)
  logits = head_logits(model, head, params, batch, key)
  targets, weights = cast(Array, batch.targets_bt), cast(Array, batch.weights_bt)
  if head.problem == "regression":
    return TaskSums(((logits - targets) ** 2 * weights).sum(), weights.sum())
  if head.kind == "classify":
    # [B, K] -> [B, 1, K], one target a row.
    logits = logits[:, None]
  if head.kind == "span":
    is_token_bt1 = (cast(Array, batch.segments_bt) > 0)[..., None]
    # A batch's padding must not change its loss, so padding has no probability.
    # [B, T, 2] -> [B, 2, T]: the classes of both targets are the positions.
    logits = jnp.where(is_token_bt1, logits, NEVER).swapaxes(1, 2)
  log_probabilities = jax.nn.log_softmax(logits)
  nats = -jnp.take_along_axis(log_probabilities, targets[..., None], axis=-1)[..., 0]
  return TaskSums((nats * weights).sum(), weights.sum())
