"""Attention as one kernel of the backend, which stores no scores (arXiv:2205.14135; arXiv:2307.08691).

On a TPU it is the Pallas kernel that jax ships, on a GPU cuDNN's; a CPU has none. Tracing decides which, from the mesh
that the program will run on, so ahead-of-time compiles for absent hardware use that hardware's kernel.

B batch, T query, S key, H heads, G key and value heads, K head width.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from gen.config import Model
from gen.errors import UserError
from gen.kernels import gradients
from gen.sharding import activation_sharding

# A TPU register is 8 x 128 numbers, and the Pallas kernel works on tiles of that width. So lengths are padded to a
# multiple of it, and `auto` uses no kernel for shorter rows.
LANES = 128
# Queries and keys of one tile of the Pallas kernel. The largest that divides the padded length is used: fewer tiles
# read each key and value fewer times. 512 also bounds the kernel's own temporaries, see `_block_sizes`.
BLOCKS = (512, 384, 256, 128)
PADDING = -1  # segment of padding that is added here; segments of text and of padded rows are 0 or more


class SegmentIds(NamedTuple):
  """The mask as a kernel takes it: a query sees keys of its own segment alone.

  Attributes:
    queries_bt: segment of each query.
    keys_bs: segment of each key.
  """

  queries_bt: Array
  keys_bs: Array


def can_use_kernel(model: Model, queries: int, keys: int, cross: bool = False, prefix: bool = False) -> bool:
  """Returns whether attention between texts of these lengths goes through a kernel.

  Args:
    model: shape of the model; `model.attention` is auto, plain or fused.
    queries: number of queries, T.
    keys: number of keys, S.
    cross: whether queries and keys come from different texts.
    prefix: whether queries also attend to later keys of a prefix.

  Raises:
    UserError: if `model.attention` is fused and there is no kernel, with the reason.
  """
  if model.attention == "plain" or (model.attention == "auto" and min(queries, keys) < LANES):
    return False
  reason = why_no_kernel(model, queries, keys, cross, prefix)
  if reason and model.attention == "fused":
    raise UserError(
      f"model.attention is fused, but {reason}; set it to auto to use a kernel where there is one"
    )
  return reason is None


def why_no_kernel(
  model: Model, queries: int, keys: int, cross: bool = False, prefix: bool = False
) -> str | None:
  """Returns why there is no kernel, as a clause, or None if there is one; arguments as in `can_use_kernel`."""
  platform = gradients.target_platform()
  if platform not in ("tpu", "gpu"):
    return f"there is no attention kernel for a {platform}"
  # Kernels take causality as a flag and segments as ids. A prefix would need the [T, S] mask as an array.
  if prefix:
    return "no kernel supports attention in both directions inside a prefix (objective prefix)"
  if (model.block or model.attention_module or ":" in model.positions) and not cross:
    return "code of the user's own is given the mask as an array"
  if model.window:
    return "no kernel supports model.window"
  if model.positions == "transformer_xl" and not cross:
    return "no kernel adds the scores of model.positions transformer_xl"
  if platform == "gpu":
    if model.positions in ("relative", "alibi") and not cross:
      return f"the cuDNN kernel is not used with the bias of model.positions {model.positions}"
    if model.dtype == "float32":
      return "the cuDNN kernel supports model.dtype bfloat16 and float16, not float32"
    return _cudnn_error(model, queries, keys)
  if model.dtype == "float16":
    return "the TPU kernel supports model.dtype bfloat16 and float32, not float16"
  if model.head_width > LANES and model.head_width % LANES:
    return f"the TPU kernel supports heads up to {LANES} or multiples of it, not model.head_width {model.head_width}"
  return None


def _cudnn_error(model: Model, queries: int, keys: int) -> str | None:
  """Returns why jax refuses to call cuDNN for such a model, or None.

  The forward and backward pass are traced without data, because jax checks cuDNN's presence and the shapes then.
  """
  q = jax.ShapeDtypeStruct((1, model.n_heads, queries, model.head_width), model.dtype)
  k = jax.ShapeDtypeStruct((1, model.n_key_value_heads, keys, model.head_width), model.dtype)
  segments = (jax.ShapeDtypeStruct((1, length), jnp.int32) for length in (queries, keys))

  def trained(q: Array, k: Array, v: Array, queries: Array, keys: Array) -> Array:
    return jax.vjp(lambda q: _on_gpu(q, k, v, None, queries, keys, scale=1.0, causal=False), q)[0]

  try:
    jax.eval_shape(trained, q, k, k, *segments)
  except (RuntimeError, NotImplementedError, ValueError) as error:
    return f"the cuDNN kernel is not available: {str(error).strip().rstrip('.')}"
  return None


def fused_dot_product_attention(
  q_bhtk: Array,
  k_bgsk: Array,
  v_bgsk: Array,
  bias: Array | None,
  segments: SegmentIds,
  scale: float,
  causal: bool,
) -> Array:
  """Returns softmax(q k^T scale + bias) v as [B, H, T, K], where `can_use_kernel` is true.

  On a mesh each device runs the kernel on its rows and heads. Output is undefined for queries without a visible key.

  Args:
    q_bhtk: queries.
    k_bgsk: keys; H / G heads of queries share one of them.
    v_bgsk: values.
    bias: [1 or B, H, T, S] or None; its gradient is computed too.
    segments: a query attends to keys of its own segment.
    scale: factor on the scores.
    causal: whether later keys are masked too.
  """
  heads, groups = q_bhtk.shape[1], k_bgsk.shape[1]
  on_tpu = gradients.target_platform() == "tpu"
  # The Pallas kernel has one key head for each query head. cuDNN has groups, but on a mesh a device needs complete
  # groups: if `tensor` does not divide them, keys are repeated and split as the queries are.
  if on_tpu or groups % activation_sharding.num_shards("kv_heads"):
    k_bgsk, v_bgsk = (jnp.repeat(x, heads // groups, axis=1) for x in (k_bgsk, v_bgsk))
  local = functools.partial(_on_tpu if on_tpu else _on_gpu, scale=scale, causal=causal)
  if not gradients.on_mesh():
    return local(q_bhtk, k_bgsk, v_bgsk, bias, *segments)
  # XLA cannot partition the Pallas kernel, which is a custom call to it. Under `shard_map` each device calls the
  # kernel on its own rows and heads.
  of_heads = activation_sharding.activation_spec(q_bhtk, ("batch", "heads", None, None))
  of_groups = activation_sharding.activation_spec(k_bgsk, ("batch", "kv_heads", None, None))
  of_bias = (
    None if bias is None else activation_sharding.activation_spec(bias, ("batch", "heads", None, None))
  )
  of_segments = (activation_sharding.activation_spec(ids, ("batch", None)) for ids in segments)
  mapped = jax.shard_map(
    local,
    in_specs=(of_heads, of_groups, of_groups, of_bias, *of_segments),
    out_specs=of_heads,
    check_vma=False,  # kernels do not declare over which axes of the mesh their results vary
  )
  return mapped(q_bhtk, k_bgsk, v_bgsk, bias, *segments)


def _on_tpu(
  q_bhtk: Array,
  k_bhsk: Array,
  v_bhsk: Array,
  bias: Array | None,
  queries_bt: Array,
  keys_bs: Array,
  scale: float,
  causal: bool,
) -> Array:
  """Computes attention by the Pallas kernel: products in the input dtype, sums and exponentials in float32."""
  # Imported here, so that programs for a CPU or a GPU do not import Pallas.
  from jax.experimental.pallas.ops.tpu import flash_attention

  (batch, heads, queries, _), keys = q_bhtk.shape, k_bhsk.shape[2]
  # Scaled here, because the kernel's own factor also multiplies the bias.
  q_bhtk = _padded(q_bhtk * scale, 2)
  k_bhsk, v_bhsk = _padded(k_bhsk, 2), _padded(v_bhsk, 2)
  if bias is not None:
    # The kernel takes no bias that is shared by the rows of a batch.
    # Both axes of its scores are padded, as queries and keys are; segments mask what is added.
    bias = _padded(_padded(jnp.broadcast_to(bias, (batch, heads, queries, keys)), 2), 3)
  # Padding has a segment of its own, so no query of a text attends to it.
  segments = flash_attention.SegmentIds(_padded(queries_bt, 1, PADDING), _padded(keys_bs, 1, PADDING))
  sizes = _block_sizes(flash_attention.BlockSizes, q_bhtk.shape[2], k_bhsk.shape[2])
  mixed = flash_attention.flash_attention(
    q_bhtk, k_bhsk, v_bhsk, bias, segments, causal=causal, block_sizes=sizes
  )
  return mixed[:, :, :queries]


def _padded(x: Array, axis: int, value: int = 0) -> Array:
  """Returns x with one axis padded at its end to a multiple of `LANES`."""
  widths = [(0, -size % LANES if i == axis else 0) for i, size in enumerate(x.shape)]
  return jnp.pad(x, widths, constant_values=value)


def _block_sizes(kind: Any, queries: int, keys: int) -> Any:
  """Returns the block sizes of the Pallas kernel's three loops, as an instance of its class `kind`.

  The loops are the forward pass (block_q, block_k), the gradients of keys and values (dkv), and that of queries (dq).
  The last one reads a [B, H, T, block] float32 array for one layer at a time, so blocks also bound memory.
  """
  of_queries, of_keys = (next(block for block in BLOCKS if size % block == 0) for size in (queries, keys))
  return kind(
    block_b=1,
    block_q=of_queries,
    block_k_major=of_keys,
    block_k=of_keys,
    block_q_major_dkv=of_queries,
    block_q_dkv=of_queries,
    block_k_major_dkv=of_keys,
    block_k_dkv=of_keys,
    block_q_dq=of_queries,
    block_k_major_dq=of_keys,
    block_k_dq=of_keys,
  )


def _on_gpu(
  q_bhtk: Array,
  k_bgsk: Array,
  v_bgsk: Array,
  bias: None,
  queries_bt: Array,
  keys_bs: Array,
  scale: float,
  causal: bool,
) -> Array:
  """Computes attention by the cuDNN kernel; segments become one [T, S] mask for each row."""
  del bias  # None: see `why_no_kernel`.
  # One mask for all heads ([B, 1, T, S]), which XLA makes once for all layers.
  seen_b1ts = (queries_bt[:, :, None] == keys_bs[:, None, :])[:, None]
  q_bthk, k_bsgk, v_bsgk = (x.swapaxes(1, 2) for x in (q_bhtk, k_bgsk, v_bgsk))
  mixed_bthk = jax.nn.dot_product_attention(
    q_bthk, k_bsgk, v_bsgk, mask=seen_b1ts, scale=scale, is_causal=causal, implementation="cudnn"
  )
  return mixed_bthk.swapaxes(1, 2)
