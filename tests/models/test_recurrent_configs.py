"""What a recurrent model's config counts to, and which configs are refused."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from gen import counts
from gen.config import RECURRENT, Data, Model, Optimizer, Run, Sweep, validation
from gen.data import objectives
from gen.errors import UserError
from gen.kernels import recurrence
from gen.models import language_model, recurrent
from gen.scaling.sweeps import design

V, D, L = 29, 6, 2


def model_of(family, **others):
  return Model(**({"family": family, "vocab": V, "width": D, "depth": L, "head_bias": True} | others))


@pytest.mark.parametrize("family", RECURRENT)
@pytest.mark.parametrize(
  "others", [{}, {"residual": True, "tied": True, "norm_bias": True}, {"head_transform": True}]
)
def test_the_counted_parameters_are_the_trees(family, others):
  model = model_of(family, **others)
  found = counts.count_parameters(model)
  shapes = language_model.parameter_shapes(model)
  assert found.total == sum(leaf.size for leaf in jax.tree.leaves(shapes))
  of_layers = {name: leaf.size for name, leaf in shapes["target"]["layers"].items() if name != "norm"}
  assert found.recurrent == sum(of_layers.values())
  assert found.attention == found.feed_forward == 0
  matrices = sum(size for name, size in of_layers.items() if "kernel" in name)
  assert counts.count_matrices(model) == matrices + D * V + D * D * model.head_transform


@pytest.mark.parametrize("family", RECURRENT)
def test_the_flops_are_6_n_a_token_and_those_of_an_unrolled_compile(family):
  model = model_of(family, width=160, vocab=512, head_bias=False)
  length, batch = 5, 3

  # With a state before the text and a curved loss, or the compiler leaves out products that no gradient needs.
  def loss(params, state, ids_bt):
    logits_btv, _ = language_model.build_model(model).apply({"params": params}, ids_bt, state, method="carry")
    return jnp.square(logits_btv).sum()

  state = jax.eval_shape(lambda: recurrent.init_recurrent_state(model, batch))
  ids_bt = jax.ShapeDtypeStruct((batch, length), jnp.int32)
  with recurrence.unrolled_steps(length):  # or the compiler's count sees one step of the loop
    lowered = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(
      language_model.parameter_shapes(model), state, ids_bt
    )
  compiled = lowered.compile()
  counted = counts.count_flops(model, length).total
  assert counted / length == counts.flops_per_token(model, length) == counts.six_n_flops(model)
  assert compiled.cost_analysis()["flops"] == pytest.approx(batch * counted, rel=0.03)


RUN = Run(model=Model(family="lstm", width=10), data=Data(length=12, batch=4), steps=5)


def changed(part, **others):
  return dataclasses.replace(RUN, **{part: dataclasses.replace(getattr(RUN, part), **others)})


@pytest.mark.parametrize(
  ("run", "sentence"),
  [
    (changed("model", qk_norm=True), "model.qk_norm is True, but model.family lstm does not use it"),
    (changed("model", positions="alibi"), "model.positions is 'alibi'"),
    (changed("model", key_value_heads=2), "model.key_value_heads is 2"),
    (changed("model", norm="rmsnorm"), "with model.residual"),
    (changed("model", carry=True), "set data.stream too"),
    (changed("model", family="decoder", width=32, carry=True), "model.carry is only for recurrent families"),
    (
      changed("model", family="decoder", width=32, residual=True),
      "model.residual is only for recurrent families",
    ),
    (
      dataclasses.replace(
        RUN,
        model=Model(family="gru", carry=True),
        data=Data(stream=True),
        optimizer=Optimizer(microbatches=2),
      ),
      "optimizer.microbatches to 1",
    ),
    (changed("data", stream=True, objective="masked"), "only for data.objective causal"),
  ],
)
def test_what_makes_no_sense_with_an_rnn_is_refused_in_a_sentence(run, sentence):
  with pytest.raises(UserError, match=sentence):
    validation.check_run(run)


def test_what_makes_sense_is_accepted():
  validation.check_run(RUN)
  validation.check_run(changed("model", positions="none", width=7))
  validation.check_run(changed("model", residual=True, norm="rmsnorm", norm_bias=True, tied=True))
  assert all(family in objectives.families_of("causal") for family in RECURRENT)


@pytest.mark.parametrize("family", RECURRENT)
def test_a_sweep_of_recurrent_models_gives_each_run_its_budget(family):
  study = Sweep(model=Model(family=family, heads=2), data=Data(length=16, batch=4), budgets=(1e8, 2e8),
                widths=((6, 10), (8, 12)))  # fmt: skip
  design.check_sweep(study)
  runs = design.canonical_order(design.expand_sweep(study, vocab=260))
  assert [(run.flops, run.model.width) for run in runs] == [(1e8, 6), (1e8, 10), (2e8, 8), (2e8, 12)]
  for run in runs:
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[family]
    n = run.model.depth * 2 * gates * run.model.width**2 + 260 * run.model.width
    assert design.flops_per_step(run) == 6 * n * 4 * 16
