"""What quantization costs: loss and bits per byte on held-out text, and agreement of greedy texts, with intervals.

Intervals are those of a paired bootstrap: batches (or prompts) are drawn with replacement, alike for both models, and
the difference is taken in each draw.
"""

import functools
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen.batch import Batch
from gen.config import Model, from_dict, to_dict
from gen.data.batches import ValidationBatches
from gen.generation.decoding import decode
from gen.generation.decoding.sampling import Sampler
from gen.kernels import losses
from gen.models import language_model
from gen.training import step

# Each end of a 95 % interval is then the 25th draw from its side.
DRAWS, LEVEL = 1000, 0.95
# Greedy, so that a difference of texts is one of models and not of draws.
GREEDY = Sampler(temperature=0.0)


class PairedDifference(NamedTuple):
  """A quantity of two models.

  Attributes:
    before: of the float32 model.
    after: of the quantized model.
    difference: after - before.
    low: lower end of the interval of the difference, at 95 %; NaN for a single batch, which has no scatter.
    high: its upper end.
  """

  before: float
  after: float
  difference: float
  low: float
  high: float


class GreedyAgreement(NamedTuple):
  """How far greedy predictions of two models agree.

  Attributes:
    share: of tokens that are equal at the same position.
    low: lower end of its interval, at 95 %; NaN for a single prompt.
    high: its upper end.
    tokens: tokens that were compared.
    kind: "generated" tokens, or "masked" ones of an encoder.
  """

  share: float
  low: float
  high: float
  tokens: int
  kind: str


class ModelPair(NamedTuple):
  """Two models of one shape.

  Attributes:
    before: config of the float32 model.
    after: config of the quantized one, whose cache may have fewer bits.
    params: float32 parameters.
    quantized: the quantized tree.
  """

  before: Model
  after: Model
  params: Any
  quantized: Any


def compare_losses(
  pair: ModelPair, held_out: ValidationBatches, seed: int = 0
) -> dict[str, PairedDifference]:
  """Returns loss (nats per token) and bits per byte of both models on held-out batches."""
  before, after = (batch_losses(pair.before, params, held_out) for params in (pair.params, pair.quantized))
  found = pair_losses(before, after, seed)
  per_byte = before.weight_u.sum() / max(held_out.bytes, 1) / math.log(2)
  # Bytes do not depend on the draw, so one factor converts the interval as well.
  return {"loss": found, "bits_per_byte": PairedDifference(*(np.array(found) * per_byte).tolist())}


class BatchLosses(NamedTuple):
  """Sums over each held-out batch of one model.

  Attributes:
    nll_u: negative log likelihood, nats.
    weight_u: tokens with loss.
  """

  nll_u: np.ndarray
  weight_u: np.ndarray


def batch_losses(model: Model, params: Any, held_out: ValidationBatches) -> BatchLosses:
  """Returns the sums of each held-out batch; models of one config share a compiled program."""
  program = _loss_program(json.dumps(to_dict(model)))
  # Sums and not means, since batches may hold different numbers of loss-bearing tokens.
  sums = [program(params, batch) for batch in held_out.batches]
  return BatchLosses(
    np.array([float(found.nll) for found in sums]), np.array([float(found.weight) for found in sums])
  )


@functools.lru_cache(maxsize=4)
def _loss_program(model_json: str) -> Callable[..., Any]:
  model = from_dict(Model, json.loads(model_json))
  terms = losses.LossTerms(soft_cap=model.logits_soft_cap, chunk=model.loss_chunk)
  return jax.jit(lambda params, batch: step.batch_loss(model, terms, params, batch))


def pair_losses(before: BatchLosses, after: BatchLosses, seed: int = 0) -> PairedDifference:
  """Returns the losses of two models on the same batches, nats per token, with the interval of their difference."""
  weight_u = before.weight_u
  draws_du = _draws(len(weight_u), seed)
  # The same draw for both models: what makes a batch hard cancels, and the interval is that of the difference.
  differences_d = (after.nll_u - before.nll_u)[draws_du].sum(1) / np.maximum(weight_u[draws_du].sum(1), 1)
  low, high = _interval(differences_d, len(weight_u))
  first, second = (float(each.nll_u.sum() / max(weight_u.sum(), 1)) for each in (before, after))
  return PairedDifference(first, second, second - first, low, high)


def _interval(values_d: np.ndarray, units: int) -> tuple[float, float]:
  # All draws of one unit are alike, so their interval would have no width and claim to be exact.
  if units < 2:
    return math.nan, math.nan
  low, high = np.quantile(values_d, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
  return low, high


def _draws(units: int, seed: int) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, units, (DRAWS, units))


def compare_greedy(
  pair: ModelPair, batches: Sequence[Batch], *, prompts: int, new: int, seed: int = 0
) -> GreedyAgreement:
  """Returns the share of greedy tokens that both models agree on.

  Args:
    pair: the models.
    batches: held-out rows; prompts are the first halves of rows, or the sources of an encoder-decoder.
    prompts: rows to take, at most.
    new: tokens that are generated after each.
    seed: of the bootstrap.
  """
  rows = [
    (batch, row) for batch in batches for row in range(len(batch.inputs_bt)) if batch.weights_bt[row].any()
  ]
  rows = [
    # Evenly over the text, so that no single document decides.
    rows[index]
    for index in np.unique(np.linspace(0, len(rows) - 1, min(prompts, len(rows))).astype(int))
  ]
  if pair.before.family == "encoder":
    kind, agreed = "masked", [_masked_agreement(pair, batch, row) for batch, row in rows]
  else:
    kind, agreed = "generated", _generated_agreement(pair, rows, new)
  equal_p, count_p = np.array(agreed, np.float64).T
  draws_dp = _draws(len(agreed), seed)
  # Prompts are drawn and not tokens: after the first difference all later tokens of a text tend to differ.
  shares_d = equal_p[draws_dp].sum(1) / np.maximum(count_p[draws_dp].sum(1), 1)
  low, high = _interval(shares_d, len(agreed))
  return GreedyAgreement(float(equal_p.sum() / max(count_p.sum(), 1)), low, high, int(count_p.sum()), kind)


def _generated_agreement(
  pair: ModelPair, rows: Sequence[tuple[Batch, int]], new: int
) -> list[tuple[int, int]]:
  starts: tuple[int, ...] = (0,)
  if pair.before.family == "encoder_decoder":
    texts = [_text(batch.source_bs, batch.source_segments_bs, row) for batch, row in rows]
    starts = (int(rows[0][0].inputs_bt[rows[0][1], 0]),)
  else:
    texts = [
      # Half of a row is the prompt, so that the continuation stays inside the length that the model was trained on.
      ids[: max(1, len(ids) // 2)]
      for ids in (_text(b.inputs_bt, b.segments_bt, row) for b, row in rows)
    ]
  longest = max(len(ids) for ids in texts)
  if pair.before.context and not pair.before.recurrent and pair.before.family != "encoder_decoder":
    new = max(1, min(new, pair.before.context - longest))
  elif pair.before.context and pair.before.family == "encoder_decoder":
    new = max(1, min(new, pair.before.context - 1))
  made = [
    decode.generate(
      language_model.build_model(model),
      params,
      texts,
      GREEDY,
      jax.random.key(0),
      start=starts,
      max_tokens=new,
    ).rows()
    for model, params in ((pair.before, pair.params), (pair.after, pair.quantized))
  ]
  return [
    # A text that ends early agrees on none of the other's further tokens.
    (int((np.asarray(a)[: len(b)] == np.asarray(b)[: len(a)]).sum()), max(len(a), len(b)))
    for a, b in zip(*made, strict=True)
  ]


def _text(ids_bt: Any, segments_bt: Any, row: int) -> np.ndarray:
  """Returns the ids of a row's first document."""
  ids_t = np.asarray(ids_bt[row])
  return ids_t if segments_bt is None else ids_t[np.asarray(segments_bt[row]) == 1]


def _masked_agreement(pair: ModelPair, batch: Batch, row: int) -> tuple[int, int]:
  one = batch.map_arrays(lambda array: array[row : row + 1])
  arguments = language_model.batch_arguments(pair.before, one)
  program = _argmax_program(json.dumps(to_dict(pair.before)))
  best = [program(params, arguments) for params in (pair.params, pair.quantized)]
  # Masked tokens alone bear loss; what an encoder predicts for visible tokens is never trained.
  bears_t = np.asarray(one.weights_bt)[0] > 0
  return int((np.asarray(best[0])[0] == np.asarray(best[1])[0])[bears_t].sum()), int(bears_t.sum())


# Keyed by the config as JSON, because configs are mutable and have no hash.
@functools.lru_cache(maxsize=4)
def _argmax_program(model_json: str) -> Callable[..., Any]:
  """Returns the compiled argmax of a model's logits, for its config as JSON."""
  module = language_model.build_model(from_dict(Model, json.loads(model_json)))

  def predict(params: Any, arguments: dict[str, Any]) -> Any:
    logits_btv: Any = module.apply({"params": params}, **arguments)
    return jnp.argmax(logits_btv, axis=-1)

  return jax.jit(predict)
