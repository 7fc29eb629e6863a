"""Cross entropy fused with the product that makes the logits, and its gradient, in one pass over chunks of tokens.

For a token with hidden state h, target y and weight w, logits l = c tanh(h W / c) (c the soft cap, if any):

    log Z = log sum_v exp l_v
    nll   = log Z - l_y
    loss  = w [(1 - s) nll + s (log Z - mean_v l_v) + z (log Z)^2]

with label smoothing s (arXiv:1512.00567) and z-loss z (PaLM, arXiv:2204.02311). The gradient in l,

    w [(1 + 2 z log Z) softmax(l) - (1 - s) onehot(y) - s / V],

is at hand when the loss is, so both come from one softmax and the logits of a whole batch never exist.
N tokens, C tokens of a chunk, D width, V vocab.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from gen.kernels import quantized
from gen.kernels.gradients import matmul_logits, on_mesh, target_platform
from gen.precision.quantized_array import StoredKernel
from gen.sharding import activation_sharding

# Logits that exist at a time: 1 MiB of float32, which stays in a core's cache. At vocab 1024 chunks of 64 to 512
# tokens take 72 ms a step, and chunks of 1,024 tokens take 74 (docs/notes/step_measurements.md).
CHUNK_ELEMENTS = 1 << 18
# The same on a GPU or TPU: 512 MiB of float32. Each chunk reads and writes the kernel's gradient in slow memory. A step
# of GPT-2 on an H200 takes 39.0 ms with chunks of 128 tokens and 26.4 with 2,048 (docs/accelerators.md).
ACCELERATOR_CHUNK_ELEMENTS = 1 << 27
# Fewer tokens read and write the kernel's gradient [D, V] too often: at width 256 and vocab 4096 a step takes 935 ms
# with chunks of 64 tokens and 889 with 128.
MIN_CHUNK = 128


class LossTerms(NamedTuple):
  """Constants of the loss.

  Attributes:
    z_loss: weight of (log Z)^2.
    label_smoothing: share of the target's probability that is spread over the vocabulary.
    soft_cap: bound c of the logits c tanh(l / c); 0 is none.
    chunk: tokens whose logits exist at a time; 0 is about 1 MiB of logits on a CPU, and 512 MiB elsewhere.
  """

  z_loss: float = 0.0
  label_smoothing: float = 0.0
  soft_cap: float = 0.0
  chunk: int = 0


class LossSums(NamedTuple):
  """Sums over tokens, to be divided once, so that means are exact over microbatches, devices and batches.

  Attributes:
    loss: of what is minimized, smoothing and z-loss included.
    nll: of the negative log likelihood, nats.
    weight: of the weights, the number of loss-bearing tokens.
  """

  loss: Array
  nll: Array
  weight: Array


def cross_entropy(
  hidden_nd: Array,
  kernel_dv: Array,
  bias_v: Array | None,
  targets_n: Array,
  weights_n: Array,
  terms: LossTerms = LossTerms(),  # noqa: B008
) -> LossSums:
  """Returns sums over tokens; gradients flow to hidden states, kernel and bias through `loss` alone.

  Args:
    hidden_nd: hidden states in the compute dtype.
    kernel_dv: output kernel, float32; the product runs in the hidden states' dtype and sums in float32.
    bias_v: bias of the logits, float32, or None.
    targets_n: ids to predict.
    weights_n: weight of each token, 0 where it bears no loss.
    terms: constants of the loss.
  """
  if on_mesh():
    loss, nll = _sharded_loss(hidden_nd, kernel_dv, bias_v, targets_n, weights_n, terms)
  else:
    loss, nll = _fused(hidden_nd, kernel_dv, bias_v, targets_n, weights_n, terms)
  return LossSums(loss, nll, weights_n.sum())


def _sharded_loss(
  hidden_nd: Array,
  kernel_dv: Array,
  bias_v: Array | None,
  targets_n: Array,
  weights_n: Array,
  terms: LossTerms,
) -> tuple[Array, Array]:
  """Returns the sums where tokens are split over devices: each device cuts its own tokens into chunks.

  A scan over chunks of all tokens would slice the axis that is split, so each chunk would lie on one device. Here
  tokens get a leading axis of devices, the scan runs under `vmap` over it, and one sum joins the devices.
  """
  count = activation_sharding.num_shards("batch")

  def by_device(x: Array) -> Array:
    return activation_sharding.shard_activation(x.reshape(count, -1, *x.shape[1:]), "batch", *[None] * x.ndim)

  # `spmd_axis_name` adds the mesh's axes to the sharding constraints under `vmap`, where the axis has no name.
  sums_of_device = jax.vmap(
    lambda *tokens: _fused(tokens[0], kernel_dv, bias_v, *tokens[1:], terms),
    spmd_axis_name=activation_sharding.mesh_axes("batch") or None,
  )
  loss_p, nll_p = sums_of_device(by_device(hidden_nd), by_device(targets_n), by_device(weights_n))
  return loss_p.sum(), nll_p.sum()


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _fused(hidden_nd, kernel_dv, bias_v, targets_n, weights_n, terms):  # type: ignore[no-untyped-def]
  # Without a gradient: XLA removes the gradient in the logits, which nothing reads here.
  kernel_dv = kernel_dv.astype(hidden_nd.dtype)

  def body(sums: tuple[Array, Array], chunk: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
    loss, nll, _ = _chunk_loss(chunk, kernel_dv, bias_v, terms)
    return (sums[0] + loss, sums[1] + nll), None

  chunks = _chunks(terms, kernel_dv.shape[1], hidden_nd, targets_n, weights_n)
  return jax.lax.scan(body, (jnp.float32(0), jnp.float32(0)), chunks)[0]


def _fused_forward(hidden_nd, kernel_dv, bias_v, targets_n, weights_n, terms):  # type: ignore[no-untyped-def]
  """Returns the sums, and as residuals the gradients of `loss`, already computed."""
  dtype = hidden_nd.dtype
  narrow_dv = kernel_dv.astype(dtype)
  frozen = isinstance(kernel_dv, StoredKernel)  # of fewer bits, without a gradient
  zeros_v = None if bias_v is None else jnp.zeros_like(bias_v)

  def body(carry, chunk):  # type: ignore[no-untyped-def]
    loss, nll, kernel_grad_dv, bias_grad_v = carry
    chunk_loss, chunk_nll, logits_grad_cv = _chunk_loss(chunk, narrow_dv, bias_v, terms)
    logits_grad_cv = logits_grad_cv.astype(dtype)
    if frozen:
      hidden_grad_cd = quantized.multiply_transposed(logits_grad_cv, narrow_dv)
    else:
      hidden_grad_cd = jax.lax.dot_general(logits_grad_cv, narrow_dv, (((1,), (1,)), ((), ())))
    # [D, V] = h^T p; the transposed form p^T h runs at a third of the speed on a CPU. It is summed in float32 over all
    # chunks, because many small terms are added to one large sum.
    if kernel_grad_dv is not None:
      kernel_grad_dv += jax.lax.dot_general(
        chunk[0], logits_grad_cv, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
      )
    if bias_grad_v is not None:
      bias_grad_v += logits_grad_cv.astype(jnp.float32).sum(0)
    return (loss + chunk_loss, nll + chunk_nll, kernel_grad_dv, bias_grad_v), hidden_grad_cd

  chunks = _chunks(terms, kernel_dv.shape[1], hidden_nd, targets_n, weights_n)
  zeros_dv = None if frozen else jnp.zeros(kernel_dv.shape, jnp.float32)
  start = (jnp.float32(0), jnp.float32(0), zeros_dv, zeros_v)
  (loss, nll, kernel_grad_dv, bias_grad_v), hidden_grad = jax.lax.scan(body, start, chunks)
  # Without the tokens that `_chunks` added.
  hidden_grad_nd = hidden_grad.reshape(-1, hidden_nd.shape[1])[: hidden_nd.shape[0]]
  # A frozen kernel may be stored in 16 bits; a gradient has the type of what it is for.
  kernel_grad_dv = None if kernel_grad_dv is None else kernel_grad_dv.astype(kernel_dv.dtype)
  return (loss, nll), (hidden_grad_nd, kernel_grad_dv, bias_grad_v)


def _fused_backward(terms, gradients, cotangents):  # type: ignore[no-untyped-def]
  del terms
  # The loss is a scalar, so the chain rule is one factor. `nll` is only reported: its cotangent is ignored.
  of_loss = cotangents[0]
  scaled = jax.tree.map(lambda g: (g * of_loss).astype(g.dtype), gradients)
  return (*scaled, None, None)


_fused.defvjp(_fused_forward, _fused_backward)


def _chunk_loss(
  chunk: tuple[Array, ...], kernel_dv: Array, bias_v: Array | None, terms: LossTerms
) -> tuple[Array, Array, Array]:
  """Returns the chunk's loss and nll, and the loss's gradient in the logits before the cap, float32 [C, V]."""
  hidden_cd, targets_c, weights_c = chunk
  vocab = kernel_dv.shape[1]
  # Logits, softmax and loss are float32 whatever the compute dtype.
  logits_cv = matmul_logits(hidden_cd, kernel_dv)
  logits_cv = logits_cv if bias_v is None else logits_cv + bias_v
  if terms.soft_cap:
    logits_cv = terms.soft_cap * jnp.tanh(logits_cv / terms.soft_cap)
  largest_c1 = logits_cv.max(-1, keepdims=True)
  powers_cv = jnp.exp(logits_cv - largest_c1)
  total_c1 = powers_cv.sum(-1, keepdims=True)
  log_z_c = (jnp.log(total_c1) + largest_c1)[:, 0]
  nll_c = log_z_c - jnp.take_along_axis(logits_cv, targets_c[:, None], axis=1)[:, 0]
  loss_c = nll_c
  if terms.label_smoothing:
    s = terms.label_smoothing
    loss_c = (1 - s) * nll_c + s * (log_z_c - logits_cv.mean(-1))
  if terms.z_loss:
    loss_c = loss_c + terms.z_loss * jnp.square(log_z_c)
  of_softmax_c1 = (weights_c * (1 + 2 * terms.z_loss * log_z_c))[:, None] / total_c1
  is_target_cv = jnp.arange(vocab)[None, :] == targets_c[:, None]
  # d loss / d l, see the module's docstring; softmax(l) is the powers over their total.
  gradient_cv = powers_cv * of_softmax_c1 - weights_c[:, None] * (
    jnp.where(is_target_cv, 1 - terms.label_smoothing, 0.0) + terms.label_smoothing / vocab
  )
  if terms.soft_cap:
    # d/dl of c tanh(l / c) is 1 - tanh^2.
    gradient_cv = gradient_cv * (1 - jnp.square(logits_cv / terms.soft_cap))
  # A token of weight 0 must add nothing even if its loss is not finite: 0 times infinity would be NaN.
  bears_c = weights_c != 0
  loss = jnp.where(bears_c, loss_c * weights_c, 0.0).sum()
  return loss, jnp.where(bears_c, nll_c * weights_c, 0.0).sum(), gradient_cv


def _largest_chunk(vocab: int) -> int:
  """Returns the tokens of a chunk where the config does not say."""
  if target_platform() == "cpu":
    return max(MIN_CHUNK, CHUNK_ELEMENTS // vocab)
  # Matrix units work on tiles of 128 rows, so a power of two wastes nothing.
  return max(MIN_CHUNK, 1 << (ACCELERATOR_CHUNK_ELEMENTS // vocab).bit_length() - 1)


def _chunks(terms: LossTerms, vocab: int, *arrays_n: Array) -> tuple[Array, ...]:
  """Cuts arrays over tokens into [chunks, C, ...], padded with tokens of weight 0."""
  tokens = arrays_n[0].shape[0]
  max_size = terms.chunk or _largest_chunk(vocab)
  count = -(-tokens // max_size)
  # Even chunks need less padding: fewer than one token for each chunk.
  size = -(-tokens // count)

  def cut(array: Array) -> Array:
    missing = count * size - tokens
    if missing:
      array = jnp.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))
    return array.reshape(count, size, *array.shape[1:])

  return tuple(cut(array) for array in arrays_n)
