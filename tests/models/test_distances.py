"""Biases by distance (T5's, ALiBi's): one for all rows of a batch, whose positions are distances of places."""

import jax
import numpy as np
import pytest
from jax.extend import core

from gen.batch import Batch
from gen.config import Model
from gen.models import language_model

V, T, S = 23, 7, 5
SIZES = {
  "width": 12, "heads": 3, "head_width": 4, "feed_forward": 10, "depth": 2, "vocab": V, "context": T,
  "relative_buckets": 8, "relative_distance": 20,
}  # fmt: skip
IDS = np.random.default_rng(0).integers(0, V, (3, T))
# Row 0 packs two documents, rows 1 and 2 hold one each, filled up with padding.
SEGMENTS = np.array([[1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0]])
PLACES = np.array([[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 0, 0, 0], [0, 1, 2, 0, 0, 0, 0]])
SOURCE = {
  "source_bs": np.random.default_rng(1).integers(0, V, (3, S)),
  "source_segments_bs": np.array([[1, 1, 1, 2, 2], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]),
  "source_positions_bs": np.array([[0, 1, 2, 0, 1], [0, 1, 2, 0, 0], [0, 1, 0, 0, 0]]),
}


def texts(family):
  rows = {"inputs_bt": IDS, "segments_bt": SEGMENTS, "positions_bt": PLACES}
  return rows | (SOURCE if family == "encoder_decoder" else {})


@pytest.mark.parametrize(("family", "scheme"), [("encoder_decoder", "relative"), ("decoder", "alibi")])
def test_distances_of_places_are_those_of_positions_in_every_segment(random_parameters, family, scheme):
  model = Model(family=family, positions=scheme, **SIZES)
  params, module, rows = random_parameters(model), language_model.build_model(model), texts(family)
  mixed = np.random.default_rng(2).normal(size=(*IDS.shape, V)) * (SEGMENTS > 0)[..., None]

  def loss(params, rows):
    return (module.apply({"params": params}, **rows) * mixed).sum()

  without = {name: value for name, value in rows.items() if "positions" not in name}
  found, wanted = (jax.jit(jax.grad(loss))(params, each) for each in (without, rows))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, wanted)


def equations(jaxpr):
  """Yields the equations of a jaxpr and of all inside it."""
  for equation in jaxpr.eqns:
    yield equation
    for inner in core.jaxprs_in_params(equation.params):
      yield from equations(inner)


@pytest.mark.parametrize("family", ["encoder", "encoder_decoder"])
def test_the_rows_of_a_batch_share_one_bias_and_its_gradient(random_parameters, family):
  model = Model(family=family, positions="relative", **SIZES)
  batch = Batch(targets_bt=IDS, weights_bt=SEGMENTS > 0, **texts(family))
  module, read = language_model.build_model(model), language_model.batch_arguments(model, batch)
  gradient = jax.make_jaxpr(jax.grad(lambda tree: module.apply({"params": tree}, **read).sum()))
  added = [
    [each.aval.shape for each in equation.invars]
    for equation in equations(gradient(random_parameters(model)).jaxpr)
    if equation.primitive.name == "scatter-add"
  ]
  heads, buckets = model.n_heads, model.relative_buckets
  lengths = [T] if family == "encoder" else [T, S]
  found = sorted(shapes[2] for shapes in added if shapes[0] == (buckets, heads))
  assert found == sorted((1, length, length, heads) for length in lengths)


@pytest.mark.parametrize("scheme", ["relative", "alibi"])
def test_positions_are_read_where_devices_share_the_rows(scheme, monkeypatch):
  batch, places = Batch(*range(9)), {"positions_bt", "source_positions_bs"}
  assert not places & set(language_model.batch_arguments(Model(positions=scheme), batch))
  monkeypatch.setattr(language_model.layers, "num_shards", lambda name: {"batch": 2}[name])
  assert places < set(language_model.batch_arguments(Model(positions=scheme), batch))
