import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.kernels import losses
from gen.kernels.losses import LossTerms

N, D, V = 13, 5, 11


def inputs(bias=True, seed=0):
  rng = np.random.default_rng(seed)
  weights = rng.uniform(0.2, 2, N) * (rng.random(N) < 0.7)  # uneven, a third of them 0
  arrays = rng.normal(size=(N, D)), rng.normal(size=(D, V)), rng.normal(size=V) if bias else None
  hidden, kernel, bias = (None if x is None else x.astype(np.float32) for x in arrays)
  return hidden, kernel, bias, rng.integers(0, V, N), weights.astype(np.float32)


def reference(hidden, kernel, bias, targets, weights, terms):
  """The formula in float64, or in complex numbers for its derivative: (sum of loss, sum of nll)."""
  logits = hidden @ kernel + (0 if bias is None else bias)
  if terms.soft_cap:
    logits = terms.soft_cap * np.tanh(logits / terms.soft_cap)
  log_z = np.log(np.exp(logits).sum(-1))
  smooth = np.full((len(targets), V), terms.label_smoothing / V)
  smooth[np.arange(len(targets)), targets] += 1 - terms.label_smoothing
  nll = log_z - logits[np.arange(len(targets)), targets]
  loss = log_z - (smooth * logits).sum(-1) + terms.z_loss * log_z**2
  return (loss * weights).sum(), (nll * weights).sum()


def derivatives(arrays, targets, weights, terms):
  """The loss's gradient in each array, one number at a time, by a complex step (exact to rounding)."""
  found = []
  for i, array in enumerate(arrays):
    grad = np.zeros(array.shape)
    for place in np.ndindex(array.shape):
      moved = [x.astype(complex) for x in arrays]
      moved[i][place] += 1e-30j
      moved += [None] * (3 - len(moved))
      grad[place] = reference(*moved, targets, weights, terms)[0].imag / 1e-30
    found.append(grad)
  return found


@functools.partial(jax.jit, static_argnums=5)
def fused(hidden, kernel, bias, targets, weights, terms):
  def loss(hidden, kernel, bias):
    sums = losses.cross_entropy(hidden, kernel, bias, targets, weights, terms)
    return sums.loss, sums

  return jax.value_and_grad(loss, (0, 1) if bias is None else (0, 1, 2), has_aux=True)(hidden, kernel, bias)


def near(found, wanted, tolerance=1e-6):
  """Within a share of the largest number."""
  wanted = np.asarray(wanted)
  np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


ALL = LossTerms(z_loss=1e-2, label_smoothing=0.1, soft_cap=3.0, chunk=4)
CASES = [
  (LossTerms(), False),
  (LossTerms(z_loss=1e-2), False),
  (LossTerms(label_smoothing=0.2), False),
  (LossTerms(soft_cap=2.0), True),
  (ALL, True),
  (ALL._replace(chunk=13), False),
]


@pytest.mark.parametrize(("terms", "bias"), CASES)
def test_the_fused_loss_and_its_gradients_are_the_formulas(terms, bias):
  *arrays, targets, weights = inputs(bias)
  (loss, sums), gradients = fused(*arrays, targets, weights, terms)
  exact = [x.astype(np.float64) for x in arrays if x is not None]
  wanted = reference(*exact, *([] if bias else [None]), targets, weights, terms)
  near(loss, wanted[0])
  near(sums.nll, wanted[1])
  near(sums.weight, weights.astype(np.float64).sum())
  assert len(gradients) == len(exact)
  for found, exactly in zip(gradients, derivatives(exact, targets, weights, terms), strict=True):
    near(found, exactly)


@pytest.mark.parametrize("chunk", [1, 2, 5, 12, 100])
def test_chunks_change_nothing_whether_they_divide_the_tokens_or_not(chunk):
  whole = fused(*inputs(), ALL._replace(chunk=13))
  for one, other in zip(
    jax.tree.leaves(fused(*inputs(), ALL._replace(chunk=chunk))), jax.tree.leaves(whole), strict=True
  ):
    near(one, other)


@pytest.mark.parametrize(
  ("tokens", "vocab", "wanted"), [(10, 7, 1), (40_000, 7, 2), (200, 1 << 20, 2), (64, 1 << 20, 1)]
)
def test_without_a_chunk_about_a_mebibyte_of_logits_exists_at_a_time(tokens, vocab, wanted):
  (cut,) = losses._chunks(LossTerms(), vocab, np.zeros((tokens, 1)))
  assert cut.shape[0] == wanted
  assert cut.shape[0] * cut.shape[1] - tokens < cut.shape[0]  # no more filling than evenness needs


def test_no_logits_of_the_whole_batch_exist():
  hidden, kernel, targets = jnp.zeros((4096, 8)), jnp.zeros((8, 1000)), jnp.zeros(4096, int)
  lowered = jax.jit(functools.partial(fused, terms=LossTerms())).lower(
    hidden, kernel, None, targets, jnp.ones(4096)
  )
  memory = lowered.compile().memory_analysis()
  assert memory.temp_size_in_bytes < 4096 * 1000 * 4 / 2


def test_a_zero_weight_silences_a_token_and_keeps_it_from_every_gradient():
  hidden, kernel, bias, targets, weights = inputs()
  silent = weights == 0
  assert 0 < silent.sum() < N
  (loss, _sums), gradients = fused(hidden, kernel, bias, targets, weights, ALL)
  other_hidden = np.where(silent[:, None], 7.0, hidden)
  (other_loss, _), other_gradients = fused(other_hidden, kernel, bias, (targets + silent) % V, weights, ALL)
  assert loss == other_loss
  assert (gradients[0][silent] == 0).all()
  for one, other in zip(gradients, other_gradients, strict=True):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_zero_weight_keeps_the_sums_finite_whatever_the_hidden_state(value):
  hidden, kernel, bias, targets, weights = inputs()
  spoiled = np.where((weights == 0)[:, None], np.float32(value), hidden)
  terms = LossTerms(z_loss=1e-2, label_smoothing=0.1)
  found = losses.cross_entropy(spoiled, kernel, bias, targets, weights, terms)
  (_, wanted), _ = fused(hidden, kernel, bias, targets, weights, terms)
  near(found, wanted)


def test_a_batch_without_weights_is_nothing_at_all():
  hidden, kernel, bias, targets, weights = inputs()
  (loss, sums), gradients = fused(hidden, kernel, bias, targets, 0 * weights, ALL)
  assert loss == sums.nll == sums.weight == 0
  assert all((grad == 0).all() for grad in gradients)


def test_large_logits_do_no_harm():
  hidden, kernel, bias, targets, weights = inputs()
  (loss, _), gradients = fused(1e3 * hidden, kernel, bias, targets, weights, LossTerms())
  logits = (1e3 * hidden).astype(np.float64) @ kernel + bias
  log_z = np.logaddexp.reduce(logits, axis=-1)
  near(loss, ((log_z - logits[np.arange(N), targets]) * weights).sum(), 1e-5)
  assert all(np.isfinite(grad).all() for grad in gradients)


def test_gradients_scale_with_what_flows_into_the_loss():
  hidden, kernel, bias, targets, weights = inputs()

  def tripled(kernel):
    return 3 * losses.cross_entropy(hidden, kernel, bias, targets, weights, ALL).loss

  near(jax.jit(jax.grad(tripled))(kernel), 3 * np.asarray(fused(*inputs(), ALL)[1][1]))


def test_bfloat16_hidden_states_stay_near_and_keep_their_dtype():
  hidden, kernel, bias, targets, weights = inputs()
  (loss, sums), gradients = fused(jnp.asarray(hidden, jnp.bfloat16), kernel, bias, targets, weights, ALL)
  (wanted, _), exact = fused(hidden, kernel, bias, targets, weights, ALL)
  assert [g.dtype for g in gradients] == [jnp.bfloat16, jnp.float32, jnp.float32]
  assert sums.loss.dtype == jnp.float32
  near(loss, wanted, 1e-2)
  for found, exactly in zip(gradients, exact, strict=True):
    near(found.astype(jnp.float32), exactly, 3e-2)


@pytest.mark.parametrize(("platform", "chunk"), [("cpu", 128), ("gpu", 2048), ("tpu", 2048)])
def test_an_accelerator_computes_more_logits_at_a_time_than_a_cpu(monkeypatch, platform, chunk):
  monkeypatch.setattr(losses, "target_platform", lambda: platform)
  (pieces,) = losses._chunks(losses.LossTerms(), 50257, jnp.zeros(5 * chunk))
  assert pieces.shape == (5, chunk)
