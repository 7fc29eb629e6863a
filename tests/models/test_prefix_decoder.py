"""A decoder as a prefix language model: both ways inside the prefix of each document, back after it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.config import Model
from gen.models import language_model

V, T = 29, 11
SIZES = {"width": 12, "heads": 3, "head_width": 4, "feed_forward": 10, "depth": 2, "vocab": V, "context": T}
SCHEMES = ("none", "learned", "sinusoidal", "rotary", "relative", "alibi", "transformer_xl")
ONE_TABLE = [scheme for scheme in SCHEMES if scheme != "relative"]  # T5's buckets differ with the direction

# Row 0 packs two documents and padding; rows 1 and 2 hold one each. Ids of a row are all different, so that the
# gradient in a row of the embedding table is the gradient in one place of the text.
IDS = np.array([[*range(1, 10), 0, 0], [*range(1, 6), *[0] * 6], [*range(6, 10), *[0] * 7]])
SEGMENTS = np.array([[1] * 5 + [2] * 4 + [0] * 2, [1] * 5 + [0] * 6, [1] * 4 + [0] * 7])
PLACES = np.array([[0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 0], [*range(5), *[0] * 6], [*range(4), *[0] * 7]])
PREFIX = np.array([[1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0], [1, 1, 1, *[0] * 8], [1, 1, *[0] * 9]])
TEXTS = {"inputs_bt": IDS, "segments_bt": SEGMENTS, "positions_bt": PLACES}
ROWS = TEXTS | {"prefix_bt": PREFIX}


def close(found, wanted, tolerance=1e-4):
  np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def decoder(scheme, **others):
  return Model(
    family="decoder", positions=scheme, relative_buckets=8, relative_distance=20, **(SIZES | others)
  )


PROGRAMS = {}  # of models, by all their fields: one for all tests that run a model on inputs of the same shapes


def logits_of(model, params, **others):
  program = PROGRAMS.setdefault(repr(model), jax.jit(language_model.build_model(model).apply))
  return np.asarray(program({"params": params}, **others))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradients_reach_the_past_and_the_prefix_of_the_own_document_and_nothing_else(
  random_parameters, scheme
):
  model = decoder(scheme)
  params = random_parameters(model)
  weights_v = np.random.default_rng(1).normal(size=V).astype(np.float32)

  def of_table(table):
    tree = params | {"embedding": {"embedding": table}}
    return language_model.build_model(model).apply({"params": tree}, **ROWS)[0] @ weights_v

  table = params["embedding"]["embedding"]
  influence_ts = np.abs(jax.jit(jax.jacrev(of_table))(table)).max(-1)[:9, IDS[0, :9]]
  for t, s in np.ndindex(9, 9):
    seen = SEGMENTS[0, t] == SEGMENTS[0, s] and (s <= t or PREFIX[0, s])
    assert influence_ts[t, s] > 1e-4 if seen else influence_ts[t, s] == 0, (t, s)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_packed_documents_with_prefixes_equal_documents_alone(random_parameters, scheme):
  model = decoder(scheme)
  logits_btv = logits_of(model, random_parameters(model), **ROWS)
  close(logits_btv[0, :5], logits_btv[1, :5])
  close(logits_btv[0, 5:9], logits_btv[2, :4])


@pytest.mark.parametrize("scheme", ONE_TABLE)
def test_a_text_that_is_all_prefix_is_read_as_an_encoder_reads_it(random_parameters, scheme):
  model = decoder(scheme)
  params, inside = random_parameters(model), SEGMENTS > 0
  found = logits_of(model, params, **TEXTS, prefix_bt=inside.astype(int))
  encoder = logits_of(dataclasses.replace(model, family="encoder"), params, **TEXTS)
  close(found[inside], encoder[inside], 1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_prefix_of_nothing_is_causal_attention(random_parameters, scheme):
  model = decoder(scheme)
  params = random_parameters(model)
  nothing = logits_of(model, params, **TEXTS, prefix_bt=np.zeros_like(PREFIX))
  close(nothing, logits_of(model, params, **TEXTS), 1e-5)


@pytest.mark.parametrize("scheme", ["rotary", "transformer_xl"])
def test_rows_so_long_that_causal_attention_goes_in_blocks_show_all_of_the_prefix(random_parameters, scheme):
  length, given, later = 150, 130, 140
  model = decoder(scheme, context=length)
  params, ids = random_parameters(model), np.random.default_rng(2).integers(1, V, (1, length))
  prefix = (np.arange(length) < given)[None].astype(int)

  def change(place):
    other = ids.copy()
    other[0, place] = (other[0, place] + 1) % V
    moved = logits_of(model, params, inputs_bt=other, prefix_bt=prefix)
    return np.abs(moved - logits_of(model, params, inputs_bt=ids, prefix_bt=prefix))[0].max(-1)

  assert (change(given - 1) > 1e-5).all()
  assert (change(later)[:later] == 0).all() and (change(later)[later:] > 1e-5).all()


@pytest.fixture(scope="module")
def gradients(random_parameters):
  """Returns a function from a model to the gradients of its parameters, which are computed once."""
  found = {}
  weights_btv = np.random.default_rng(3).normal(size=(3, T, V)).astype(np.float32)

  def of(model):
    def loss(tree):
      logits_btv = language_model.build_model(model).apply({"params": tree}, **ROWS)
      return jnp.where(SEGMENTS[..., None] > 0, logits_btv * weights_btv, 0).sum()

    if repr(model) not in found:
      found[repr(model)] = jax.jit(jax.grad(loss))(random_parameters(model))
    return found[repr(model)]

  return of


@pytest.mark.parametrize("scheme", ["rotary", "relative", "transformer_xl"])
@pytest.mark.parametrize(
  "switches", [{"scan": True}, {"remat": "full"}, {"scan": True, "remat": "dots"}], ids=str
)
def test_scanning_and_recomputing_change_no_gradient_of_a_prefix_model(gradients, scheme, switches):
  plain = decoder(scheme, scan=False, depth=3)
  jax.tree.map(close, gradients(plain), gradients(dataclasses.replace(plain, **switches)))
