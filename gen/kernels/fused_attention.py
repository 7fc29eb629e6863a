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

LANES = 128  # of a TPU's registers: lengths are padded to a multiple of it, and shorter rows gain nothing
BLOCKS = (512, 384, 256, 128)  # of queries and of keys; the largest that divides the padded length is taken
PADDING = -1  # segment of what is padded, which no text has


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
    model: its shape, and what it asks for.
    queries: length of the text that looks, T.
    keys: length of the text that is looked at, S.
    cross: whether that is another text.
    prefix: whether later keys are seen if they belong to a prefix.

  Raises:
    UserError: where the model insists on a kernel that cannot be had, with the reason.
  """
  if model.attention == "plain" or (model.attention == "auto" and min(queries, keys) < LANES):
    return False
  why = why_no_kernel(model, queries, keys, cross, prefix)
  if why and model.attention == "fused":
    raise UserError(f"model.attention is fused, but {why}; auto takes a kernel where there is one")
  return why is None


def why_no_kernel(
  model: Model, queries: int, keys: int, cross: bool = False, prefix: bool = False
) -> str | None:
  """Returns why no kernel can be had, as the rest of a sentence, or None; arguments as of `can_use_kernel`."""
  where = gradients.target_platform()
  if where not in ("tpu", "gpu"):
    return f"there is no kernel of it for a {where}"
  if prefix:
    return "no kernel shows a prefix both ways (objective prefix)"
  if model.positions == "transformer_xl" and not cross:
    return "no kernel adds the scores of model.positions transformer_xl"
  if where == "gpu":
    if model.positions in ("relative", "alibi") and not cross:
      return f"cuDNN's is not given the bias of model.positions {model.positions}"
    if model.dtype == "float32":
      return "cuDNN's takes model.dtype bfloat16 or float16, not float32"
    return _refusal(model, queries, keys)
  if model.dtype == "float16":
    return "a TPU's kernel takes model.dtype bfloat16 or float32, not float16"
  if model.head_width > LANES and model.head_width % LANES:
    return f"a TPU's kernel takes heads of up to {LANES} or multiples of it, not model.head_width {model.head_width}"
  return None


def _refusal(model: Model, queries: int, keys: int) -> str | None:
  """Returns what cuDNN, or its absence, has against such a model, as jax says it while tracing."""
  q = jax.ShapeDtypeStruct((1, model.n_heads, queries, model.head_width), model.dtype)
  k = jax.ShapeDtypeStruct((1, model.n_key_value_heads, keys, model.head_width), model.dtype)
  segments = (jax.ShapeDtypeStruct((1, length), jnp.int32) for length in (queries, keys))

  def trained(q: Array, k: Array, v: Array, queries: Array, keys: Array) -> Array:
    return jax.vjp(lambda q: _on_gpu(q, k, v, None, queries, keys, scale=1.0, causal=False), q)[0]

  try:
    jax.eval_shape(trained, q, k, k, *segments)
  except (RuntimeError, NotImplementedError, ValueError) as error:
    return f"cuDNN's cannot be had: {str(error).strip().rstrip('.')}"
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
    segments: what sees what.
    scale: factor on the scores.
    causal: whether later keys are hidden as well.
  """
  heads, groups = q_bhtk.shape[1], k_bgsk.shape[1]
  on_tpu = gradients.target_platform() == "tpu"
  if on_tpu or groups % activation_sharding.num_shards("kv_heads"):
    k_bgsk, v_bgsk = (jnp.repeat(x, heads // groups, axis=1) for x in (k_bgsk, v_bgsk))
  local = functools.partial(_on_tpu if on_tpu else _on_gpu, scale=scale, causal=causal)
  if not gradients.on_mesh():
    return local(q_bhtk, k_bgsk, v_bgsk, bias, *segments)
  of_heads = activation_sharding.activation_spec(q_bhtk, ("batch", "heads", None, None))
  of_groups = activation_sharding.activation_spec(k_bgsk, ("batch", "kv_heads", None, None))
  of_bias = (
    None if bias is None else activation_sharding.activation_spec(bias, ("batch", "heads", None, None))
  )
  of_segments = (activation_sharding.activation_spec(each, ("batch", None)) for each in segments)
  mapped = jax.shard_map(
    local,
    in_specs=(of_heads, of_groups, of_groups, of_bias, *of_segments),
    out_specs=of_heads,
    check_vma=False,  # kernels do not say over which axes of the mesh their results vary
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
  """Computes fused attention by Pallas' kernel: products in the input type, sums and exponentials in float32."""
  from jax.experimental.pallas.ops.tpu import flash_attention as kernel

  (batch, heads, queries, _), keys = q_bhtk.shape, k_bhsk.shape[2]
  q_bhtk = _padded(q_bhtk * scale, 2)  # The kernel's own factor would be on the bias too.
  k_bhsk, v_bhsk = _padded(k_bhsk, 2), _padded(v_bhsk, 2)
  if bias is not None:
    bias = _padded(_padded(jnp.broadcast_to(bias, (batch, heads, queries, keys)), 2), 3)
  segments = kernel.SegmentIds(_padded(queries_bt, 1, PADDING), _padded(keys_bs, 1, PADDING))
  sizes = _sizes(kernel, q_bhtk.shape[2], k_bhsk.shape[2])
  mixed = kernel.flash_attention(q_bhtk, k_bhsk, v_bhsk, bias, segments, causal=causal, block_sizes=sizes)
  return mixed[:, :, :queries]


def _padded(x: Array, axis: int, value: int = 0) -> Array:
  """Returns x, an axis of it longer by so many values that it is a multiple of the lanes."""
  widths = [(0, -size % LANES if i == axis else 0) for i, size in enumerate(x.shape)]
  return jnp.pad(x, widths, constant_values=value)


def _sizes(kernel: Any, queries: int, keys: int) -> Any:
  """Returns the blocks of the kernel's three loops: forward, for keys' and values' gradients, for queries'.

  The last is given one number a query as often as a block has keys: an array [B, H, T, block], of one layer at a time.
  """
  of_queries, of_keys = (next(block for block in BLOCKS if size % block == 0) for size in (queries, keys))
  return kernel.BlockSizes(
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
  """Computes fused attention by cuDNN's kernel, which takes segments as one narrow [T, S] mask a row."""
  del bias  # is none: see `why_no_kernel`
  seen_b1ts = (queries_bt[:, :, None] == keys_bs[:, None, :])[:, None]
  q_bthk, k_bsgk, v_bsgk = (x.swapaxes(1, 2) for x in (q_bhtk, k_bgsk, v_bgsk))
  mixed_bthk = jax.nn.dot_product_attention(
    q_bthk, k_bsgk, v_bsgk, mask=seen_b1ts, scale=scale, is_causal=causal, implementation="cudnn"
  )
  return mixed_bthk.swapaxes(1, 2)
