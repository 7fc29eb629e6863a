"""Recurrent layers against loops in float64, packing, carried state."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.batch import Batch
from gen.config import RECURRENT, Model, Optimizer
from gen.kernels import losses, recurrence
from gen.models import language_model, recurrent
from gen.training import compiled_step, step

V, D, L, T, B = 29, 6, 2, 7, 3
IDS = np.random.default_rng(5).integers(0, V, (B, T))
# Two documents, one that fills the row, one followed by padding.
SEGMENTS = np.array([[1, 1, 1, 2, 2, 2, 2], [1] * 7, [1, 1, 1, 1, 1, 0, 0]])


def model_of(family, **others):
  return Model(**({"family": family, "vocab": V, "width": D, "depth": L, "head_bias": True} | others))


def close(found, wanted, tolerance=1e-5):
  np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def logistic(x):
  return 1 / (1 + np.exp(-x))


def cell_by_hand(family, x, h, c, weights):
  """One step of one unit's layer, written out gate by gate in float64."""
  w, u, b = (np.asarray(weights[name], np.float64) for name in ("input_kernel", "kernel", "bias"))
  ins = [x @ w[:, k] + b[k] for k in range(w.shape[1])]
  own = [h @ u[:, k] for k in range(u.shape[1])]
  if family == "rnn":
    return np.tanh(ins[0] + own[0]), c
  if family == "lstm":
    i, f, o = (logistic(ins[k] + own[k]) for k in (0, 1, 3))
    c = f * c + i * np.tanh(ins[2] + own[2])
    return o * np.tanh(c), c
  r, z = (logistic(ins[k] + own[k]) for k in (0, 1))
  n = np.tanh(ins[2] + r * (own[2] + np.asarray(weights["candidate_bias"], np.float64)))
  return (1 - z) * n + z * h, c


def by_hand(model, params, ids_t):
  """Returns logits [T, V] of one text and the states of its layers, token by token."""
  table = np.asarray(params["embedding"]["embedding"], np.float64)
  h, c = np.zeros((model.depth, model.width)), np.zeros((model.depth, model.width))
  logits = []
  for token in ids_t:
    x = table[token]
    for layer in range(model.depth):
      weights = {name: value[layer] for name, value in params["target"]["layers"].items()}
      h[layer], c[layer] = cell_by_hand(model.family, x, h[layer], c[layer], weights)
      x = h[layer]
    kernel = np.asarray(params["head"]["logits"]["kernel"], np.float64)
    logits.append(x @ kernel + np.asarray(params["head"]["bias"], np.float64))
  return np.array(logits), h, c


PROGRAMS = {}  # one for all tests that call a method of a model on inputs of the same shapes


def program(model, **method):
  made = jax.jit(functools.partial(language_model.build_model(model).apply, **method))
  return PROGRAMS.setdefault((repr(model), *method.values()), made)


def apply(model, params, ids=IDS, segments=None):
  """Returns logits, compiled."""
  return program(model)({"params": params}, ids, segments_bt=segments)


@pytest.mark.parametrize("family", RECURRENT)
def test_logits_and_state_are_those_of_a_loop_in_float64(family, random_parameters):
  model = model_of(family)
  params = random_parameters(model)
  logits_btv, state = apply_carry(model, params, IDS, recurrent.init_recurrent_state(model, B))
  close(apply(model, params), logits_btv)
  for row in range(B):
    wanted, h, c = by_hand(model, params, IDS[row])
    close(logits_btv[row], wanted)
    close(state.hidden[:, row], h)
    if family == "lstm":
      close(state.cell[:, row], c)
    else:
      assert state.cell is None


@pytest.mark.parametrize("family", RECURRENT)
def test_gradients_are_those_of_differentiating_the_loop(family, random_parameters):
  """The hand-made backward pass against jax's own through a plain loop, with packing and padding, and a state."""
  cell = recurrent.CELLS[family]
  rng = np.random.default_rng(0)
  inputs_tbg, kernel_dg, bias_g = (
    jnp.asarray(rng.normal(size=shape), jnp.float32)
    for shape in ((T, B, cell.gates * D), (D, cell.gates * D), (cell.gates * D,))
  )
  state = jax.tree.map(
    lambda x: jnp.asarray(rng.normal(size=x.shape[1:]), jnp.float32),
    recurrent.init_recurrent_state(model_of(family), B),
  )
  weights = jnp.asarray(rng.normal(size=(T, B, D)), jnp.float32)

  def total(states, last):
    return (states.hidden * weights).sum() + sum((leaf * weights[2]).sum() for leaf in jax.tree.leaves(last))

  def fused(inputs_tbg, kernel_dg, bias_g, state, segments):
    marks = None if segments is None else recurrent.document_boundaries(jnp.asarray(segments))
    return total(*recurrence.scan_layer(cell, inputs_tbg, kernel_dg, bias_g, state, marks))

  def plain(inputs_tbg, kernel_dg, bias_g, state, segments):
    hidden, before = [], state
    for t in range(T):
      if segments is not None:
        latest = np.array([next((s for s in row[:t][::-1] if s), 1) for row in segments])
        begins = ((segments[:, t] != latest) & (segments[:, t] > 0))[:, None]
        before = jax.tree.map(lambda x: jnp.where(begins, 0, x), before)  # noqa: B023
      after, _ = cell.forward(inputs_tbg[t], before.hidden @ kernel_dg + bias_g, before)
      if segments is not None:
        pads = (segments[:, t] == 0)[:, None]
        after = jax.tree.map(lambda new, old: jnp.where(pads, old, new), after, before)  # noqa: B023
      hidden.append(after.hidden)
      before = after
    return total(recurrence.RecurrentState(jnp.stack(hidden)), before)

  for segments in (None, SEGMENTS):
    found, wanted = (
      jax.jit(jax.value_and_grad(functools.partial(f, segments=segments), argnums=(0, 1, 2, 3)))(
        inputs_tbg, kernel_dg, bias_g, state
      )
      for f in (fused, plain)
    )
    jax.tree.map(functools.partial(close, tolerance=2e-5), found, wanted)


@pytest.mark.parametrize("family", RECURRENT)
def test_packed_documents_equal_documents_alone(family, random_parameters):
  model = model_of(family, residual=True)
  params = random_parameters(model)
  packed = apply(model, params, segments=SEGMENTS)
  close(packed[0, :3], apply(model, params, IDS[:1, :3])[0])
  close(packed[0, 3:], apply(model, params, IDS[:1, 3:])[0])
  close(packed[1], apply(model, params, IDS[1:2])[0])
  assert np.abs(packed[0, 3:] - apply(model, params)[0, 3:]).max() > 1e-3


@pytest.mark.parametrize("family", RECURRENT)
def test_no_document_has_a_gradient_in_another_or_in_the_future(family, random_parameters):
  model, ids = model_of(family), np.arange(T)[None]
  params = random_parameters(model)

  def of_table(table):
    tree = params | {"embedding": {"embedding": table}}
    return language_model.build_model(model).apply({"params": tree}, ids, segments_bt=SEGMENTS[:1])[0].sum(-1)

  influence_ts = np.abs(jax.jit(jax.jacrev(of_table))(params["embedding"]["embedding"])).max(-1)[:, :T]
  sees = (SEGMENTS[0][:, None] == SEGMENTS[0]) & np.tri(T, dtype=bool)
  assert (influence_ts[~sees] == 0).all()
  assert (influence_ts[sees] > 1e-6).all()


@pytest.mark.parametrize("family", RECURRENT)
def test_a_text_in_pieces_that_hand_the_state_on_equals_the_whole(family, random_parameters):
  model = model_of(family)
  params = random_parameters(model)
  whole = apply(model, params)
  state, pieces = recurrent.init_recurrent_state(model, B), []
  for begin, end in ((0, 1), (1, 4), (4, 7)):
    logits, state = apply_carry(model, params, IDS[:, begin:end], state)
    pieces.append(logits)
  close(np.concatenate(pieces, axis=1), whole)


def apply_carry(model, params, ids, state, segments=None):
  return program(model, method="carry")({"params": params}, ids, state, segments)


def test_a_state_belongs_to_segment_1_and_padding_leaves_it_as_it_is(random_parameters):
  model = model_of("lstm")
  params = random_parameters(model)
  _, state = apply_carry(model, params, IDS, recurrent.init_recurrent_state(model, B))
  fresh = recurrent.init_recurrent_state(model, B)
  ones, twos = np.full((B, T), 1), np.full((B, T), 2)
  other = IDS[:, ::-1]
  going_on, _ = apply_carry(model, params, other, state, ones)
  close(going_on, apply_carry(model, params, other, state)[0])
  anew, _ = apply_carry(model, params, other, state, twos)
  close(anew, apply_carry(model, params, other, fresh)[0])
  padded = np.concatenate([IDS, other], axis=1)
  segments = np.concatenate([ones, np.zeros((B, T), int)], axis=1)
  jax.tree.map(close, apply_carry(model, params, padded, fresh, segments)[1], state)
  left = np.concatenate([np.zeros((B, T), int), ones], axis=1)
  close(apply_carry(model, params, padded, state, left)[0][:, T:], going_on)


def test_scanned_unrolled_and_rematerialized_layers_give_the_same_numbers(random_parameters):
  params = random_parameters(model_of("gru", residual=True))
  outputs = []
  for others in ({}, {"scan": True, "remat": "full"}, {"remat": "dots"}):
    model = model_of("gru", residual=True, **others)

    def loss(tree, model=model):
      return jnp.square(
        language_model.build_model(model).apply({"params": tree}, IDS, segments_bt=SEGMENTS)
      ).mean()

    outputs.append(jax.jit(jax.value_and_grad(loss))(params))
  for other in outputs[1:]:
    jax.tree.map(close, other, outputs[0])


def test_a_residual_stack_is_norms_and_sums_around_the_layers(random_parameters):
  model = model_of("rnn", depth=1, residual=True)
  params = random_parameters(model)
  x = np.asarray(params["embedding"]["embedding"], np.float64)[IDS[0]]

  def normalize(x, scale):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * np.asarray(scale, np.float64)

  layer = params["target"]["layers"]
  y, h = normalize(x, layer["norm"]["scale"][0]), np.zeros(D)
  weights = {name: layer[name][0] for name in ("input_kernel", "kernel", "bias")}
  for t in range(T):
    h, _ = cell_by_hand("rnn", y[t], h, None, weights)
    x[t] += h
  hidden = normalize(x, params["target"]["norm"]["scale"])
  head = params["head"]
  close(apply(model, params)[0], hidden @ head["logits"]["kernel"] + head["bias"])


def test_a_tied_head_is_the_embeddings_transpose_and_dropout_needs_a_key(random_parameters):
  model = model_of("lstm", tied=True, dropout=0.5)
  params = random_parameters(model)
  assert "logits" not in params["head"]
  hidden = jax.jit(functools.partial(language_model.build_model(model).apply, method="hidden"))(
    {"params": params}, IDS
  )
  close(apply(model, params), hidden @ params["embedding"]["embedding"].T + params["head"]["bias"])
  dropping = jax.jit(
    lambda key: language_model.build_model(model).apply({"params": params}, IDS, rngs={"dropout": key})
  )
  runs = [dropping(jax.random.key(i)) for i in (0, 0, 1)]
  np.testing.assert_array_equal(runs[0], runs[1])
  assert np.abs(runs[0] - runs[2]).max() > 1e-3


def test_the_forget_gate_starts_open_and_recurrent_kernels_orthogonal():
  layer = jax.jit(functools.partial(language_model.initialize_parameters, model_of("lstm")))(
    jax.random.key(1)
  )["target"]["layers"]
  close(layer["bias"], np.broadcast_to(np.array([0.0, 1.0, 0.0, 0.0])[:, None], (L, 4, D)))
  kernels = np.asarray(layer["kernel"]).swapaxes(1, 2).reshape(-1, D, D)
  assert len(kernels) == 4 * L
  for one in kernels:
    close(one @ one.T, np.eye(D))
  assert np.abs(kernels[0] - kernels[1]).max() > 0.1


@pytest.mark.parametrize("family", RECURRENT)
def test_every_parameter_names_its_axes_and_no_bias_decays(family):
  from gen import optimizers

  model = model_of(family, residual=True)
  axes = language_model.logical_axes(model)
  for path, shape in jax.tree_util.tree_leaves_with_path(language_model.parameter_shapes(model)):
    assert len(functools.reduce(lambda tree, key: tree[key.key], path, axes)) == len(shape.shape)
  for path, decays in jax.tree_util.tree_leaves_with_path(
    optimizers.decay_mask(language_model.parameter_shapes(model))
  ):
    assert decays == ("kernel" in path[-1].key or path[-1].key == "embedding")


def batch_of(ids, segments=None):
  segments = np.ones_like(ids) if segments is None else segments
  return Batch(ids, np.roll(ids, -1, 1), np.ones(ids.shape, np.float32), segments, np.zeros_like(ids))


@pytest.mark.parametrize("family", RECURRENT)
def test_state_crosses_the_truncation_and_gradients_do_not(family, random_parameters):
  model = model_of(family)
  params = random_parameters(model)
  first, second = batch_of(np.arange(T)[None]), batch_of(np.arange(T, 2 * T)[None])

  def second_loss(table, cut):
    tree = params | {"embedding": {"embedding": table}}
    state = recurrent.init_recurrent_state(model, 1)
    if cut:
      _, state = step.recurrent_loss(model, losses.LossTerms(), tree, first, state)
      return step.recurrent_loss(model, losses.LossTerms(), tree, second, state)[0].loss
    both = np.concatenate([first.inputs_bt, second.inputs_bt], axis=1)
    targets = np.concatenate([first.targets_bt, second.targets_bt], axis=1)
    weights = np.concatenate([0 * first.weights_bt, second.weights_bt], axis=1)
    whole = Batch(both, targets, weights, np.ones_like(both), np.zeros_like(both))
    return step.batch_loss(model, losses.LossTerms(), tree, whole).loss

  table = params["embedding"]["embedding"]
  (cut, cut_grad), (whole, whole_grad) = (
    jax.jit(jax.value_and_grad(second_loss), static_argnums=1)(table, truncated)
    for truncated in (True, False)
  )
  assert float(cut) == pytest.approx(float(whole), rel=1e-5)  # the state does cross
  assert (np.asarray(cut_grad)[:T] == 0).all()
  assert np.abs(np.asarray(whole_grad)[:T]).max() > 1e-5


def test_a_training_step_hands_its_state_on_and_clears_it_where_another_document_begins(random_parameters):
  model, optimizer = model_of("lstm", carry=True, dropout=0.2), Optimizer()
  start = step.with_recurrent_state(
    compiled_step.step_programs(model, optimizer).initialize(np.uint32(0)), model, B
  )
  over = step.ScheduleParams(0.0, 10.0, 0.0, 1.0, 0.0)  # of rate 0: the parameters stay
  train = jax.jit(functools.partial(step.train_step, model, optimizer))
  once, _ = train(start, batch_of(IDS), over)
  again = dataclasses.replace(model, dropout=0.0)
  assert jax.tree.map(jnp.shape, once.recurrent_state) == jax.tree.map(jnp.shape, start.recurrent_state)
  assert np.abs(once.recurrent_state.hidden).max() > 1e-3
  train = jax.jit(functools.partial(step.train_step, again, optimizer))
  carried = [
    train(state, batch_of(IDS, segments), over)[0].recurrent_state
    for state, segments in ((once, 2 * np.ones_like(IDS)), (start, None), (once, None))
  ]
  jax.tree.map(close, carried[0], carried[1])
  assert np.abs(carried[0].hidden - carried[2].hidden).max() > 1e-4


def test_a_step_that_is_skipped_leaves_the_carried_state(random_parameters):
  model, optimizer = model_of("gru", carry=True), Optimizer()
  start = step.with_recurrent_state(
    compiled_step.step_programs(model, optimizer).initialize(np.uint32(0)), model, B
  )
  over = step.ScheduleParams(0.1, 10.0, 0.0, 1.0, 0.0)
  train = jax.jit(functools.partial(step.train_step, model, optimizer))
  once, _ = train(start, batch_of(IDS), over)
  bad = batch_of(IDS)._replace(weights_bt=np.full(IDS.shape, np.nan, np.float32))
  twice, _ = train(once, bad, over)
  assert int(twice.skipped) == 1
  np.testing.assert_array_equal(twice.recurrent_state.hidden, once.recurrent_state.hidden)


@pytest.mark.parametrize(("family", "dtype"), [("rnn", "bfloat16"), ("lstm", "bfloat16"), ("gru", "float16")])
def test_half_precision_stays_near_and_keeps_a_state_of_float32(family, dtype, random_parameters):
  narrow, wide = model_of(family, dtype=dtype), model_of(family)
  params = random_parameters(wide)
  close(apply(narrow, params), apply(wide, params), 0.05)
  module, zeros = language_model.build_model(narrow), recurrent.init_recurrent_state(narrow, B)
  _, state = module.apply({"params": params}, IDS, zeros, method="carry")
  assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype(np.float32)}
  terms = losses.LossTerms()
  grads = [
    jax.grad(lambda tree, model=model: step.batch_loss(model, terms, tree, batch_of(IDS)).loss)(params)
    for model in (narrow, wide)
  ]
  for a, b in zip(*map(jax.tree.leaves, grads), strict=True):
    assert np.linalg.norm(a - b) < 0.05 * np.linalg.norm(b) + 1e-6
