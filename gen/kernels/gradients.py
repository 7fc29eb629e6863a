"""Functions of a training step whose gradients are written by hand: products, activations, norms and attention.

Each computes what its name says. Its gradient differs from automatic differentiation in what it stores between the two
passes, and in how its products run. Comments give the reason and what was measured: CPU ms of forward and backward on
one core with AVX-512, float32. docs/performance.md has the tables.

N tokens, I inputs, O outputs, B batch, T query, S key, D width, H heads, G key and value heads, R = H / G, K head
width.
"""

import contextlib
import contextvars
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.kernels import decode_weights, quantized
from gen.precision import fake_quantization
from gen.precision.quantized_array import StoredKernel
from gen.sharding import activation_sharding

_TRANSPOSED: contextvars.ContextVar[bool] = contextvars.ContextVar("transposed", default=False)
# Queries of one block of causal attention. Blocks of 64 are faster than one block at every length measured from 128
# on (docs/notes/step_measurements.md); products with fewer rows run far below the rate of a large product.
MIN_BLOCK = 64
# n blocks compute (n + 1) / 2n of the scores: 8 of them 0.56, infinitely many 0.5. More blocks cost compile time.
MAX_BLOCKS = 8

# What the forward pass stores for the backward pass beside the residual stream, as `model.remat` names it: "dots" the
# results of dense layers, "full" nothing. "no_batch_dims" excludes attention's products, whose [T, S] scores are large.
RECOMPUTE = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}


def on_mesh() -> bool:
  """Returns whether the program that is traced runs on a mesh of devices."""
  # `StateSharding.traced` sets the abstract mesh. Without one, models never enter `activation_sharding`.
  return not jax.sharding.get_abstract_mesh().empty


def target_platform() -> str:
  """Returns what the program that is traced will run on: cpu, tpu or gpu."""
  # The mesh comes first: in an ahead-of-time compile for absent hardware the default backend is another one.
  device = jax.sharding.get_abstract_mesh().abstract_device
  name = jax.default_backend() if device is None else device.platform
  return "gpu" if name == "cuda" else name


@contextlib.contextmanager
def transposed_weights(transposed: bool) -> Iterator[None]:
  """Makes `matmul` treat weights as stored transposed (`gen.kernels.decode_weights`) inside the context."""
  token = _TRANSPOSED.set(transposed)
  try:
    yield
  finally:
    _TRANSPOSED.reset(token)


def transposed_active() -> bool:
  """Returns whether the weights of the layer that is traced are stored transposed."""
  return _TRANSPOSED.get()


def matmul(x_ni: Array, kernel_io: Array) -> Array:
  """Returns x W as [N, O], with a gradient of W that runs at the rate of a matrix product on a CPU too."""
  if isinstance(kernel_io, fake_quantization.FakeQuantizedKernel):
    x_ni = fake_quantization.round_activations(x_ni, kernel_io.formats.activations)
    return _matmul(x_ni, kernel_io.matrix(x_ni.dtype))
  if isinstance(kernel_io, StoredKernel):
    return quantized.multiply_stored(x_ni, kernel_io)
  return _matmul(x_ni, kernel_io)


@jax.custom_vjp
def _matmul(x_ni: Array, kernel_io: Array) -> Array:
  # Decoding asks for no gradient, so only this primal function looks for transposed weights.
  return decode_weights.transposed_matmul(x_ni, kernel_io) if transposed_active() else x_ni @ kernel_io


def _matmul_forward(x_ni: Array, kernel_io: Array) -> tuple[Array, tuple[Array, Array]]:
  # Under ZeRO-3 the residual is the device's own shard. Saving the gathered weight would keep every layer's complete
  # weight in memory until the backward pass.
  saved_io = activation_sharding.shard_residual(kernel_io) if on_mesh() else kernel_io
  return x_ni @ kernel_io, (x_ni, saved_io)


def _matmul_backward(saved: tuple[Array, Array], dy_no: Array) -> tuple[Array, Array]:
  x_ni, kernel_io = saved
  # The second all-gather of ZeRO-3, which `state_bytes.step_collectives` counts.
  kernel_io = activation_sharding.gather_residual(kernel_io) if on_mesh() else kernel_io
  return dy_no @ kernel_io.T, contract_tokens(x_ni, dy_no).astype(kernel_io.dtype)


_matmul.defvjp(_matmul_forward, _matmul_backward)


def matmul_logits(x: Array, kernel_dv: Array) -> Array:
  """Returns the logits x W as float32 [..., V], of hidden states [..., D] in the compute dtype."""
  if isinstance(kernel_dv, StoredKernel):
    logits_nv = quantized.multiply_stored(x.reshape(-1, x.shape[-1]), kernel_dv, jnp.float32)
    return logits_nv.reshape(*x.shape[:-1], -1)
  # Float32 sums whatever the compute dtype: a softmax follows.
  return jnp.matmul(x, kernel_dv.astype(x.dtype), preferred_element_type=jnp.float32)


def contract_tokens(x_ni: Array, y_no: Array) -> Array:
  """Returns x^T y over the last but one axis; leading axes are batch.

  The narrower factor goes on the left: where x is the wider one, x^T y runs at half the rate of (y^T x)^T on XLA's CPU
  backend. The barrier keeps the compiler from turning the latter into the former.
  """
  batch = tuple(range(x_ni.ndim - 2))
  tokens = (x_ni.ndim - 2,)
  numbers = ((tokens, tokens), (batch, batch))
  # On a mesh the barrier would separate the sum over devices from its scattering, and XLA could not merge both into
  # one reduce-scatter.
  if x_ni.shape[-1] <= y_no.shape[-1] or on_mesh():
    return jax.lax.dot_general(x_ni, y_no, numbers)
  return jax.lax.optimization_barrier(jax.lax.dot_general(y_no, x_ni, numbers)).swapaxes(-1, -2)


def recompute_activation(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
  """Returns an elementwise function whose gradient stores only its input and computes the rest again.

  The numbers are the same. What lies between (tanh, erf, their products) would be written in the forward pass and
  read in the backward pass, each as large as the feed-forward's hidden layer, and memory is slower than tanh. Four
  feed-forwards with GELU, of 2,048 tokens and width 256, take 238 ms and 84 MiB in place of 248 ms and 116 MiB.
  """
  recomputed = jax.custom_vjp(function)

  def backward(x: Array, dy: Array) -> tuple[Array, ...]:
    # Without the barrier XLA recognizes the forward pass's tanh as the same expression, and stores it after all.
    return jax.vjp(function, jax.lax.optimization_barrier(x))[1](dy)

  recomputed.defvjp(lambda x: (function(x), x), backward)
  return recomputed


@jax.custom_jvp
def relu_from_output(x: Array) -> Array:
  """Returns max(x, 0); its gradient reads the sign off the result, which the next product stores anyway.

  So the number before relu is written nowhere: an encoder-decoder of width 128 takes 142 MiB in place of 163.
  """
  return jnp.maximum(x, 0)


@relu_from_output.defjvp
def _relu_tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
  y, dx = relu_from_output(*primals), tangents[0]
  # Without the barrier XLA reads the sign off x, and stores x as well as y.
  return y, jax.lax.select(jax.lax.optimization_barrier(y) > 0, dx, jnp.zeros_like(dx))


def recompute_layer(layer: type[nn.Module], remat: str, scan: bool) -> type[nn.Module]:
  """Returns a layer's class whose activations are computed again in the backward pass, as `model.remat` says.

  Args:
    layer: the class.
    remat: "none", "dots" or "full".
    scan: whether layers run in a compiled loop.
  """
  if remat == "none":
    return layer
  # `prevent_cse` adds barriers that keep XLA from merging the recomputation with the forward pass. Between two
  # compiled loops it cannot merge them anyway, and the barriers would be overhead.
  return nn.remat(layer, policy=RECOMPUTE[remat], prevent_cse=not scan)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def normalize(x: Array, scale_d: Array, centred: bool, epsilon: float) -> Array:
  """Returns x [..., D], float32, normalized over its last axis and scaled.

  It is LayerNorm (arXiv:1607.06450) if `centred`, otherwise RMSNorm (arXiv:1910.07467). With m the mean over the last
  axis (only LayerNorm subtracts it), c = x - m(x) and r = 1 / sqrt(m(c^2) + epsilon),

      n = c r,    y = n s,    dc = r (s dy - n m(s dy n)),    dx = dc - m(dc),    ds = sum dy n

  where m(dc) = r m(s dy), because n has no mean of its own.
  """
  return _normalize_forward(x, scale_d, centred, epsilon)[0]


def _normalize_forward(
  x: Array, scale_d: Array, centred: bool, epsilon: float
) -> tuple[Array, tuple[Array, Array, Array]]:
  # A mean is a weighted sum of the row, see `row_sums`.
  mean_d = jnp.full_like(scale_d, 1 / scale_d.size)
  if centred:
    x = x - row_sums(x, mean_d)
  # The variance is that of the centred row, not m(x^2) - m(x)^2, which cancels in float32.
  inverse = jax.lax.rsqrt(row_sums(jnp.square(x), mean_d) + epsilon)
  normal = x * inverse
  # n and r are stored, so that the gradient needs no reduction of the forward pass again.
  return normal * scale_d, (normal, inverse, scale_d)


def _normalize_backward(
  centred: bool, epsilon: float, saved: tuple[Array, Array, Array], dy: Array
) -> tuple[Array, Array]:
  del epsilon
  normal, inverse, scale_d = saved
  # The weights s / D fold the factor s of s dy into the sums: m(s dy n) is one weighted sum of dy n.
  mean_d = scale_d / scale_d.size
  along = dy * normal
  dx = dy * scale_d - normal * row_sums(along, mean_d)
  if centred:
    dx = dx - row_sums(dy, mean_d)
  return dx * inverse, along.sum(range(along.ndim - 1))


normalize.defvjp(_normalize_forward, _normalize_backward)


def row_sums(x: Array, weights_d: Array) -> Array:
  """Returns the weighted sums over the last axis as [..., 1].

  On a CPU this is a product with a column: XLA's reductions along short rows take three times as long. A whole step at
  width 64 went from 65.7 to 62.2 ms.

  Args:
    x: [..., D].
    weights_d: weight of each element of a row.
  """
  return jax.lax.platform_dependent(
    x,
    weights_d,
    cpu=lambda x, w: jnp.matmul(x, w[:, None]),
    default=lambda x, w: (x * w).sum(-1, keepdims=True),
  )


def causal_attention(q_bhtk: Array, k_bgsk: Array, v_bgsk: Array, bias: Array, scale: float) -> Array:
  """Returns what `dot_product_attention` does where the bias masks all later keys, without computing most of those.

  Queries are cut into blocks, and each block is scored with the keys up to its end. Of the scores above the diagonal,
  only those of the blocks on it are computed. Attention alone, of 4 rows of 512 tokens, takes 17.7 ms in place of 46.3.

      x . | . .
      x x | . .
      ----+----
      x x   x .
      x x   x x
  """
  length = q_bhtk.shape[2]
  count = min(MAX_BLOCKS, length // MIN_BLOCK)
  if count < 2 or length != k_bgsk.shape[2]:
    return dot_product_attention(q_bhtk, k_bgsk, v_bgsk, bias, scale)
  # Scaled once before the cut, so that the gradient stores no other copy of the queries.
  q_bhtk = q_bhtk * scale
  ends = [length * (i + 1) // count for i in range(count)]
  parts = [
    _grouped(q_bhtk[:, :, begin:end], k_bgsk[:, :, :end], v_bgsk[:, :, :end], bias[:, :, begin:end, :end])
    for begin, end in itertools.pairwise([0, *ends])
  ]
  return jnp.concatenate(parts, axis=2)


def dot_product_attention(q_bhtk: Array, k_bgsk: Array, v_bgsk: Array, bias: Array, scale: float) -> Array:
  """Returns softmax(q k^T scale + bias) v as [B, H, T, K]; R = H / G queries share a key head."""
  return _grouped(q_bhtk * scale, k_bgsk, v_bgsk, bias)


def _grouped(q_bhtk: Array, k_bgsk: Array, v_bgsk: Array, bias: Array) -> Array:
  """Returns softmax(q k^T + bias) v for queries that are already scaled; the gradient stores these."""
  batch, heads, length, head_width = q_bhtk.shape
  groups = k_bgsk.shape[1]
  if groups == heads:
    return softmax_attention(q_bhtk, k_bgsk, v_bgsk, bias)
  # Queries that share a key head become rows of one product, [B, G, R T, K], so that keys are not repeated.
  repeats = heads // groups
  rows = (batch, groups, repeats * length)
  bias = jnp.broadcast_to(bias, (batch, heads, length, k_bgsk.shape[2])).reshape(*rows, -1)
  mixed = softmax_attention(q_bhtk.reshape(*rows, head_width), k_bgsk, v_bgsk, bias)
  return mixed.reshape(q_bhtk.shape)


def attention_weights(q_bhtk: Array, k_bgsk: Array, bias: Array, scale: float) -> Array:
  """Returns the attention weights softmax(q k^T scale + bias), float32 [B, H, T, S]."""
  k_bhsk = jnp.repeat(k_bgsk, q_bhtk.shape[1] // k_bgsk.shape[1], axis=1)
  # Float32 sums of products in the compute dtype: a softmax of bfloat16 scores would lose small differences.
  scores = jnp.einsum("bhtk,bhsk->bhts", q_bhtk * scale, k_bhsk, preferred_element_type=jnp.float32) + bias
  return nn.softmax(scores)


@jax.custom_vjp
def softmax_attention(q_bhtk: Array, k_bhsk: Array, v_bhsk: Array, bias: Array) -> Array:
  """Returns softmax(q k^T + bias) v as [B, H, T, K], storing one [T, S] matrix for each head for its gradient.

  With e = exp(score - largest), z = sum e and o = e v / z, the gradient in the scores is e (dp - do . o) where
  dp = (do / z) v^T and do is divided by z too (arXiv:2205.14135, appendix B.2, without its blocks). Automatic
  differentiation would store the scores and the weights as well.
  """
  return _softmax_attention_forward(q_bhtk, k_bhsk, v_bhsk, bias)[0]


def _softmax_attention_forward(
  q_bhtk: Array, k_bhsk: Array, v_bhsk: Array, bias: Array
) -> tuple[Array, tuple[Array, ...]]:
  # Scores and softmax are float32 whatever the compute dtype; the sum of the powers is, too.
  scores = jnp.einsum("bhtk,bhsk->bhts", q_bhtk, k_bhsk, preferred_element_type=jnp.float32) + bias
  # Without its largest score a row's exponentials could overflow.
  powers_bhts = jnp.exp(scores - scores.max(-1, keepdims=True))
  # The barrier keeps the inverse at one number for each query. Without it XLA's CPU backend stores it broadcast to K
  # for the next product: 371 MiB in place of 359 at width 256, together with the scaling of queries.
  inverse_bht1 = jax.lax.optimization_barrier(1 / powers_bhts.sum(-1, keepdims=True))
  # Divided by z after the product with v, on T K numbers for each head instead of T S.
  mixed = jnp.einsum(
    "bhts,bhsk->bhtk", powers_bhts.astype(v_bhsk.dtype), v_bhsk, preferred_element_type=jnp.float32
  )
  mixed_bhtk = (mixed * inverse_bht1).astype(v_bhsk.dtype)
  return mixed_bhtk, (q_bhtk, k_bhsk, v_bhsk, bias, powers_bhts, inverse_bht1, mixed_bhtk)


def _softmax_attention_backward(saved: tuple[Array, ...], do_bhtk: Array) -> tuple[Array, ...]:
  q_bhtk, k_bhsk, v_bhsk, bias, powers_bhts, inverse_bht1, mixed_bhtk = saved
  dtype = q_bhtk.dtype
  do_bhtk = do_bhtk.astype(jnp.float32) * inverse_bht1
  # do . o equals the sum over keys of weight times dp, but is a sum over K, not over S.
  along_bht1 = row_sums(do_bhtk * mixed_bhtk, jnp.ones(mixed_bhtk.shape[-1]))
  do_bhtk = do_bhtk.astype(dtype)
  dv_bhsk = contract_tokens(powers_bhts.astype(dtype), do_bhtk)
  dp_bhts = jnp.einsum("bhtk,bhsk->bhts", do_bhtk, v_bhsk, preferred_element_type=jnp.float32)
  dscores_bhts = powers_bhts * (dp_bhts - along_bht1)
  narrow_bhts = dscores_bhts.astype(dtype)
  dq_bhtk = jnp.einsum("bhts,bhsk->bhtk", narrow_bhts, k_bhsk)
  dk_bhsk = contract_tokens(narrow_bhts, q_bhtk)
  # XLA removes the last sum where no learned bias asks for it.
  return dq_bhtk, dk_bhsk, dv_bhsk, _sum_to(dscores_bhts, bias.shape)


softmax_attention.defvjp(_softmax_attention_forward, _softmax_attention_backward)


def _sum_to(x: Array, shape: tuple[int, ...]) -> Array:
  """Returns x summed over the axes along which an array of that shape was broadcast."""
  axes = tuple(i for i, (wide, narrow) in enumerate(zip(x.shape, shape, strict=True)) if wide != narrow)
  return x.sum(axes, keepdims=True)


def project_heads(
  inputs_btd: Sequence[Array], kernels_dhk: Sequence[Array], biases_hk: Sequence[Array] | None, dtype: str
) -> tuple[Array, ...]:
  """Returns each input times its kernel [D, H, K], plus its bias [H, K], as [B, H, T, K].

  Neighbours of the same input and shape are computed by one product and one transpose, which is a third of the passes
  over memory. These are keys and values, and queries too if each has a key head of its own.

  Args:
    inputs_btd: an input for each kernel; the same object where two kernels share one.
    kernels_dhk: the kernels, float32.
    biases_hk: a bias for each kernel, or None.
    dtype: compute dtype.
  """
  # Concatenated, kernels that are split by heads would have to be redistributed over the mesh, and kernels that are
  # stored transposed or with fewer bits would be copied for every token.
  separate = transposed_active() or any(isinstance(kernel, StoredKernel) for kernel in kernels_dhk)
  separate = separate or (on_mesh() and activation_sharding.num_shards("heads") > 1)
  ends = [
    i
    for i in range(1, len(kernels_dhk))
    if separate or inputs_btd[i] is not inputs_btd[i - 1] or kernels_dhk[i].shape != kernels_dhk[i - 1].shape
  ]
  results: list[Array] = []
  for begin, end in itertools.pairwise([0, *ends, len(kernels_dhk)]):
    biases = None if biases_hk is None else biases_hk[begin:end]
    results.extend(_project_together(inputs_btd[begin], kernels_dhk[begin:end], biases, dtype))
  return tuple(results)


def _project_together(
  x_btd: Array, kernels_dhk: Sequence[Array], biases_hk: Sequence[Array] | None, dtype: str
) -> tuple[Array, ...]:
  batch, length, width = x_btd.shape
  count, heads, head_width = len(kernels_dhk), *kernels_dhk[0].shape[1:]
  if isinstance(kernels_dhk[0], StoredKernel):
    kernel_do = kernels_dhk[0]
  else:
    kernel_dchk = jnp.stack([kernel.astype(dtype) for kernel in kernels_dhk], axis=1)
    kernel_do = kernel_dchk.reshape(width, count * heads * head_width)
  y_nchk = matmul(x_btd.reshape(-1, width), kernel_do).reshape(-1, count, heads, head_width)
  if biases_hk is not None:
    y_nchk = y_nchk + jnp.stack(biases_hk).astype(dtype)
  return _split_heads(y_nchk.reshape(batch, length, count, heads, head_width))


@jax.custom_vjp
def _split_heads(y_btchk: Array) -> tuple[Array, ...]:
  """Returns C arrays [B, H, T, K], by one transpose; their gradients need one transpose each."""
  return tuple(y_btchk.transpose(2, 0, 3, 1, 4))


_split_heads.defvjp(
  lambda y_btchk: (_split_heads(y_btchk), None),
  lambda _, parts: (jnp.stack([dy_bhtk.swapaxes(1, 2) for dy_bhtk in parts], axis=2),),
)
