"""Parameters and FLOPs of a model, counted from its config.

D width, L depth, H heads, G key and value heads, K head width, F feed-forward width, V vocab, T length, S source
length. XLA's own count is not used, because it counts the body of a loop once. A test compares these formulas with the
count of an unrolled program: at most 2 % off.

Parts of the user's own code have no formula. Their parameters are counted in the shapes of the initialized tree. Their
FLOPs are what their attribute `count_flops(config, length)` returns, or NaN without it.
"""

import dataclasses
import functools
import json
import math
from typing import Any, NamedTuple

from gen.config import Model, from_dict, to_dict, user_sources
from gen.errors import UserError
from gen.io import user_code

GATES = {
  "rnn": 1,
  "lstm": 4,
  "gru": 3,
}  # matrices of a recurrent layer for its input, and as many for its state


class Parameters(NamedTuple):
  """Parameters by group; their sum is the size of the parameter tree.

  Attributes:
    embedding: token, position and type tables, and T5's relative position biases.
    attention: projections and their biases, cross attention included.
    feed_forward: kernels and biases.
    norm: scales and biases of all norms.
    head: the output projection, without the embedding if it is tied.
    recurrent: kernels and biases of recurrent layers.
    own: of a block or family of the user's own.
  """

  embedding: int
  attention: int
  feed_forward: int
  norm: int
  head: int
  recurrent: int = 0
  own: int = 0

  @property
  def total(self) -> int:
    """The number of all parameters."""
    return sum(self)

  def by_group(self) -> dict[str, int]:
    """Returns the parameters by group, `own` only where there are any."""
    return {name: count for name, count in self._asdict().items() if count or name != "own"}


@dataclasses.dataclass(frozen=True)
class BlockStack:
  """One stack of blocks of a model.

  Attributes:
    shape: shape of its blocks.
    depth: number of blocks.
    causal: whether later tokens are masked.
    cross: whether its blocks have cross attention.
  """

  shape: Model
  depth: int
  causal: bool
  cross: bool


def block_stacks(model: Model) -> tuple[BlockStack, ...]:
  """Returns the stacks of blocks of a model, the target's first and then the source's; empty for recurrent models."""
  if model.recurrent:
    return ()
  cross = model.family == "encoder_decoder"
  target = BlockStack(model.target, model.target_depth, model.family != "encoder", cross)
  return (target, BlockStack(model, model.depth, False, False)) if cross else (target,)


def count_parameters(model: Model) -> Parameters:
  """Returns the parameters by group.

  >>> from gen.config import Model
  >>> gpt2 = Model(vocab=50257, width=768, depth=12, head_width=64, context=1024, positions="learned",
  ...              bias=True, norm_bias=True, tied=True)
  >>> count_parameters(gpt2).total
  124439808
  """
  if own_modules(model):
    return Parameters(**_count_shapes(model)[0])
  one_norm = model.width * (2 if model.norm_bias and model.norm == "layernorm" else 1)
  group = dict.fromkeys(Parameters._fields, 0)
  group["embedding"] = model.vocab * model.width
  if model.recurrent:
    group["recurrent"] = model.depth * (_recurrent(model) + _recurrent_biases(model))
    group["norm"] = model.residual * (model.depth + model.final_norm) * one_norm
  for stack in block_stacks(model):
    attentions = 2 if stack.cross else 1
    group["attention"] += stack.depth * attentions * _attention(stack.shape)
    group["feed_forward"] += stack.depth * _feed_forward(stack.shape)
    query_norm, key_norm = stack.shape.head_width, stack.shape.head_width
    if model.qk_norm_joint:
      query_norm, key_norm = stack.shape.attention_width, stack.shape.key_value_width
    head_norms = (query_norm + key_norm) * model.qk_norm
    layer_norms = (attentions + 1) * one_norm + attentions * head_norms
    group["norm"] += stack.depth * layer_norms
    group["norm"] += one_norm * (model.norm_placement != "post" and model.final_norm)
    group["norm"] += one_norm * model.embedding_norm
    if model.positions == "learned":
      group["embedding"] += (model.context + model.position_offset) * model.width
    if model.positions == "transformer_xl":
      # Transformer-XL: the kernel of distances, and the biases u and v of [H, K] each.
      group["attention"] += stack.depth * (model.width + 2) * model.attention_width
    if model.positions == "relative":
      group["embedding"] += model.relative_buckets * stack.shape.n_heads
    group["embedding"] += model.token_types * model.width
  group["head"] += 0 if model.tied else model.vocab * model.width
  group["head"] += model.vocab * model.head_bias
  if model.head_transform:
    group["head"] += model.width * (model.width + model.bias)
    group["norm"] += one_norm
  group["head"] += model.width * (model.width + 1) * model.pooler
  return Parameters(**group)


def _attention(model: Model) -> int:
  # Queries and output are D x H K, keys and values D x G K.
  kernels = model.width * (2 * model.attention_width + 2 * model.key_value_width)
  into = model.attention_width + 2 * model.key_value_width
  return kernels + (model.bias or model.qkv_bias) * into + model.bias * model.width


def _feed_forward(model: Model) -> int:
  # A gated layer has two products inward (arXiv:2002.05202).
  inward = 2 if model.gated else 1
  kernels = model.width * model.feed_forward_width * (inward + 1)
  return kernels + model.bias * (inward * model.feed_forward_width + model.width)


def _recurrent(model: Model) -> int:
  """Returns the kernel parameters of one layer: each gate has a matrix for its input and one for the state."""
  return GATES[model.family] * 2 * model.width**2


def _recurrent_biases(model: Model) -> int:
  # The GRU's candidate has a second bias, inside the reset gate's product (as in cuDNN).
  return (GATES[model.family] + (model.family == "gru")) * model.width


def count_matrices(model: Model) -> int:
  """Returns N of the scaling laws: the parameters of all matrix products of a token.

  The output head is counted, tied or not; the embedding look-up is not. In a model with parts of the user's own, these
  are all parameters of two axes or more but biases and tables named `embedding`.
  """
  if own_modules(model):
    return _count_shapes(model)[1]
  distances = model.width * model.attention_width * (model.positions == "transformer_xl")
  layers = sum(
    stack.depth
    * ((2 if stack.cross else 1) * _attention(stack.shape) + _feed_forward(stack.shape) + distances)
    for stack in block_stacks(dataclasses.replace(model, bias=False))
  )
  if model.recurrent:
    layers = model.depth * _recurrent(model)
  # Tied or not, the output product costs 2 D V FLOPs a token, so N must hold it for C = 6 N D to count it.
  return layers + model.width * model.vocab + model.head_transform * model.width**2


class Flops(NamedTuple):
  """Training FLOPs of one row's matrix products: forward, and backward at twice the forward."""

  attention: float  # projections
  scores: float  # queries with keys and weights with values, for all pairs of a row, masked or not
  feed_forward: float
  head: float
  recurrent: float = 0.0
  own: float = 0.0  # of a block or family of the user's own

  @property
  def total(self) -> float:
    """The sum of all groups."""
    return sum(self)


def count_flops(model: Model, length: int, source_length: int = 0) -> Flops:
  """Returns the training FLOPs of one row.

  Args:
    model: shape of the model.
    length: target positions, T.
    source_length: positions of an encoder-decoder's source, S.

  Returns:
    FLOPs by group, NaN where a module of the user's own does not count its own: see `require_counted`.
  """
  if ":" in model.family:
    return Flops(0.0, 0.0, 0.0, 0.0, own=3.0 * _own_flops(model, "family", length))
  # A product of [T, I] and [I, O] has 2 T I O FLOPs: a multiplication and an addition for each term.
  projections = 2 * model.width * 2 * model.attention_width  # queries and output, per token
  keys = 2 * model.width * 2 * model.key_value_width
  # For each pair 2 H K FLOPs of q k^T and 2 H K of the product with v.
  pairs = 4 * model.attention_width
  attention = scores = feed_forward = own = 0.0
  for stack, tokens in zip(block_stacks(model), (length, source_length), strict=False):
    if model.block:
      own += stack.depth * _own_flops(stack.shape, "block", tokens)
      continue
    dense = 2 * model.width * stack.shape.feed_forward_width * (3 if model.gated else 2)
    if model.attention_module:
      attention += stack.depth * _own_flops(stack.shape, "attention_module", tokens)
    else:
      attention += stack.depth * tokens * (projections + keys)
      # All T^2 pairs, masked or not, as in the 12 L D T of PaLM's MFU (arXiv:2204.02311, appendix B).
      scores += stack.depth * tokens * tokens * pairs
    if model.feed_forward_module:
      feed_forward += stack.depth * _own_flops(stack.shape, "feed_forward_module", tokens)
    else:
      feed_forward += stack.depth * tokens * dense
    if model.positions == "transformer_xl" and not model.attention_module:
      # Keys of distances are projected once for all rows of a batch; each row's queries are scored with all of them.
      distances = tokens if stack.causal else 2 * tokens - 1
      attention += stack.depth * distances * 2 * model.width * model.attention_width
      scores += stack.depth * tokens * distances * 2 * model.attention_width
    if stack.cross:
      attention += stack.depth * (length * projections + source_length * keys)
      scores += stack.depth * length * source_length * pairs
  head = 2.0 * length * model.width * (model.vocab + model.head_transform * model.width)
  recurrent = 2.0 * length * model.depth * _recurrent(model) if model.recurrent else 0.0
  # The backward pass has two products for each of the forward pass: the gradients of its two factors.
  return Flops(*(3.0 * part for part in (attention, scores, feed_forward, head, recurrent, own)))


def own_modules(model: Model) -> list[str]:
  """Returns the fields of a model that name flax modules of the user's own."""
  fields = ["family"] if ":" in model.family else []
  return fields + [
    name for name in ("block", "attention_module", "feed_forward_module") if getattr(model, name)
  ]


def uncounted_modules(model: Model) -> list[str]:
  """Returns a sentence for each module of the user's own whose FLOPs are not counted."""
  return [
    f"FLOPs are not counted: model.{name} {getattr(model, name)} has no attribute count_flops, a function of (config, "
    "length) that returns the FLOPs of its matrix products in a forward pass over one row"
    for name in own_modules(model)
    if not hasattr(user_code.load_object(getattr(model, name), f"model.{name}"), "count_flops")
  ]


def require_counted(
  model: Model, purpose: str, remedy: str = "add it, or give the length of a run in steps or tokens"
) -> None:
  """Refuses a model whose FLOPs are not counted.

  Args:
    model: its config.
    purpose: what needs the count, as the sentence begins.
    remedy: what the user can do, as it ends.

  Raises:
    UserError: with one sentence.
  """
  uncounted = uncounted_modules(model)
  if uncounted:
    raise UserError(f"{purpose}, but {uncounted[0]}; {remedy}")


def _own_flops(model: Model, name: str, length: int) -> float:
  """Returns the FLOPs of a forward pass through one module of the user's own over a row, or NaN."""
  reference, field = getattr(model, name), f"model.{name}"
  count = getattr(user_code.load_object(reference, field), "count_flops", None)
  if count is None:
    return math.nan
  with user_code.errors_of(f"{field} {reference}: count_flops"):
    return float(count(model, length))


def _count_shapes(model: Model) -> tuple[dict[str, int], int]:
  """Returns the parameters by group, and N, of a model with parts of the user's own."""
  return _count_tree(json.dumps(to_dict(model)), user_sources.program_sources(model))


@functools.lru_cache(maxsize=1024)
def _count_tree(model_json: str, sources: tuple[str, ...]) -> tuple[dict[str, int], int]:
  del sources  # of the code that the config names: edited code is counted anew
  model = from_dict(Model, json.loads(model_json))
  # By its name, an import against the direction of the packages: only a module of the user's own must be built to be
  # counted, and all other models are counted without jax.
  tree = user_code.load_object("gen.models.language_model:parameter_shapes", "model")(model)
  groups, matrices, has_head = dict.fromkeys(Parameters._fields, 0), 0, False
  for names, shape in _leaves(tree):
    size = math.prod(shape)
    groups[_group(names)] += size
    is_matrix = len(shape) - ("layers" in names) >= 2 and not names[-1].endswith("bias")
    # BERT's pooler reads one position of a row, and the loss never reads it.
    if is_matrix and names[-1] != "embedding" and names[0] != "pool":
      matrices += size
      has_head = has_head or model.vocab in shape
  return groups, matrices + (0 if has_head else model.width * model.vocab)


def _leaves(tree: Any, names: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
  """Returns (names on its path, shape) of each parameter."""
  if not hasattr(tree, "items"):
    return [(names, tuple(tree.shape))]
  return [leaf for name, branch in tree.items() for leaf in _leaves(branch, (*names, str(name)))]


def _group(names: tuple[str, ...]) -> str:
  """Returns the group of a parameter, by its path."""
  if names[-1] == "embedding":
    return "embedding"
  if "block" in names or names[0] == "own":
    return "own"
  if any(name.endswith("norm") for name in names):
    return "norm"
  if names[0] in ("head", "pool"):
    return "head"
  return "feed_forward" if "feed_forward" in names else "attention"


def flops_per_token(model: Model, length: int, source_length: int = 0) -> float:
  """Returns exact training FLOPs per target position: 6 N + 12 L D T for a plain decoder, 6 N for an RNN.

  >>> from gen.config import Model
  >>> model = Model(vocab=1024, width=64, depth=2)
  >>> flops_per_token(model, 128) == 6 * count_matrices(model) + 12 * 2 * 64 * 128
  True
  """
  return count_flops(model, length, source_length).total / length


def six_n_flops(model: Model) -> float:
  """Returns 6 N, the usual estimate of training FLOPs per token (arXiv:2001.08361)."""
  return 6.0 * count_matrices(model)
