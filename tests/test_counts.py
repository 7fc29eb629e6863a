"""Counts of parameters and FLOPs against what they count: the parameter tree, and an unrolled compiled step."""

import dataclasses
import math

import jax
import pytest

from gen import counts
from gen.config import TRANSFORMERS, Model
from gen.costs import xla_flops
from gen.models import language_model

SIZES = {"width": 12, "heads": 3, "head_width": 6, "feed_forward": 14, "depth": 2, "vocab": 23, "context": 9}
SWITCHES = [
  {},
  {"bias": True, "norm_bias": True},
  {"norm": "rmsnorm", "norm_bias": True},
  {"norm_placement": "post", "bias": True},
  {"final_norm": False},
  {"activation": "geglu", "bias": True},
  {"activation": "swiglu"},
  {"positions": "none"},
  {"positions": "learned", "position_offset": 2},
  {"positions": "sinusoidal"},
  {"positions": "relative", "relative_buckets": 6},
  {"positions": "alibi"},
  {"positions": "transformer_xl", "bias": True},
  {"embedding_norm": True, "norm_bias": True},
  {"token_types": 2},
  {"tied": True, "head_bias": True},
  {"key_value_heads": 1, "bias": True},
  {"heads": 6, "key_value_heads": 2, "qk_norm": True},
  {"heads": 6, "key_value_heads": 2, "qk_norm": True, "qk_norm_joint": True, "qkv_bias": True},
  {"norm_placement": "output", "norm_offset": True},
  {"head_transform": True, "bias": True, "norm_bias": True},
  {"head_transform": True, "tied": True, "head_bias": True},
  {"first_norm": False, "activation": "geglu_exact"},
  {"pooler": True},
  {"decoder_depth": 3, "decoder_heads": 9, "decoder_feed_forward": 7, "qk_norm": True},
  {"scan": True, "remat": "full", "dropout": 0.2, "dtype": "bfloat16", "logits_soft_cap": 3.0},
]


def group_of(path):
  """Says to which group a parameter belongs, by its name alone."""
  names = [key.key for key in path]
  if any(name.endswith("norm") for name in names):
    return "norm"
  if names[0] in ("head", "pool"):
    return "head"
  if names[0] == "embedding" or "embeddings" in names or "relative" in names:
    return "embedding"
  return next(
    name.removeprefix("cross_") for name in names if name in ("attention", "cross_attention", "feed_forward")
  )


def tree_by_group(model):
  found = dict.fromkeys(counts.Parameters._fields, 0)
  for path, leaf in jax.tree_util.tree_leaves_with_path(language_model.parameter_shapes(model)):
    found[group_of(path)] += math.prod(leaf.shape)
  return found


@pytest.mark.parametrize(
  ("family", "switches"),
  [
    (family, switches)
    for family in TRANSFORMERS
    for switches in SWITCHES
    if family == "encoder_decoder" or "decoder_depth" not in switches
  ],
  ids=str,
)
def test_parameters_by_group_are_the_sums_over_the_tree(family, switches):
  model = Model(family=family, **(SIZES | switches))
  assert counts.count_parameters(model)._asdict() == tree_by_group(model)


def test_parameters_of_a_model_counted_by_hand():
  # Embedding 7 x 4, one layer of 4 (4 x 4) attention, 2 (4 x 16) feed-forward, three norms of 4, a head 4 x 7.
  model = Model(vocab=7, width=4, depth=1, head_width=2)
  assert counts.count_parameters(model) == (28, 64, 128, 12, 28, 0, 0)
  assert counts.count_matrices(model) == 64 + 128 + 28


@pytest.mark.parametrize("family", ["encoder", "decoder", "encoder_decoder"])
def test_n_of_the_laws_is_every_matrix_that_a_token_is_multiplied_with(family):
  model = Model(family=family, **SIZES, bias=True, norm_bias=True, positions="relative", head_transform=True)
  wanted = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(language_model.parameter_shapes(model)):
    is_look_up = path[0].key == "embedding" or path[1].key in ("embeddings", "relative")
    wanted += math.prod(leaf.shape) if path[-1].key == "kernel" and not is_look_up else 0
  assert counts.count_matrices(model) == wanted
  tied = dataclasses.replace(model, tied=True)
  assert counts.count_matrices(tied) == wanted  # the head is multiplied with, whoever owns it


SHAPES = [  # (family, sizes, target, source): wide enough for the products to dwarf norms and softmax
  ("decoder", {"width": 160, "head_width": 40, "depth": 2, "vocab": 700}, 48, 0),
  ("decoder", {"width": 192, "head_width": 48, "depth": 3, "vocab": 300, "activation": "swiglu", "key_value_heads": 2,
               "norm": "rmsnorm"}, 24, 0),
  ("encoder", {"width": 128, "heads": 3, "head_width": 64, "depth": 2, "vocab": 500, "positions": "learned",
               "context": 64, "head_transform": True, "activation": "relu"}, 32, 0),
  ("encoder", {"width": 192, "head_width": 64, "depth": 1, "vocab": 900, "norm_placement": "post", "activation": "relu",
               "positions": "sinusoidal", "feed_forward": 500}, 40, 0),
  ("encoder_decoder", {"width": 160, "head_width": 40, "depth": 1, "decoder_depth": 2, "vocab": 400,
                       "positions": "none", "activation": "relu"}, 20, 44),
  ("encoder_decoder", {"width": 128, "heads": 2, "head_width": 96, "depth": 2, "vocab": 800, "tied": True,
                       "positions": "relative", "norm": "rmsnorm", "activation": "geglu"}, 36, 24),
  ("lstm", {"width": 320, "depth": 1, "vocab": 600, "residual": True}, 6, 0),
]  # fmt: skip


@pytest.mark.parametrize(
  ("family", "sizes", "target", "source"), SHAPES, ids=[f"{s[0]}-{s[1]['width']}" for s in SHAPES]
)
def test_counted_flops_are_those_of_the_unrolled_compiled_step_within_three_percent(
  family, sizes, target, source
):
  model, batch = Model(family=family, scan=False, **sizes), 3
  counted = counts.count_flops(model, target, source).total * batch
  assert counted == pytest.approx(xla_flops.count_xla_flops(model, target, source, batch), rel=0.03)


def test_flops_of_a_decoder_are_six_n_and_the_scores():
  model = Model(vocab=50, width=24, depth=3, head_width=8)
  for length in (1, 7, 640):
    exact = counts.flops_per_token(model, length)
    assert exact == 6 * counts.count_matrices(model) + 12 * 3 * 24 * length
    assert counts.six_n_flops(model) == exact - 12 * 3 * 24 * length


def test_six_n_is_near_the_exact_count_where_the_row_is_short_and_far_where_it_is_long():
  model = Model(vocab=1024, width=512, depth=4, head_width=64)
  gap = [counts.flops_per_token(model, length) / counts.six_n_flops(model) - 1 for length in (16, 4096)]
  assert gap[0] < 0.01 and gap[1] > 0.5


def test_flops_of_an_encoder_decoder_by_hand():
  model = Model(family="encoder_decoder", vocab=11, width=4, depth=1, heads=1, head_width=6, feed_forward=5)
  target, source = 3, 7
  square = 4 * 2 * 4 * 6  # four projections of width 4 to 6, two FLOPs each
  halves = 2 * 2 * 4 * 6
  wanted = {
    "attention": (target + source) * square + target * halves + source * halves,
    "scores": 4 * 6 * (target**2 + source**2 + target * source),
    "feed_forward": (target + source) * 2 * 2 * 4 * 5,
    "head": target * 2 * 4 * 11,
  }
  assert counts.count_flops(model, target, source)._asdict() == {
    name: 3 * value for name, value in wanted.items()
  } | {"recurrent": 0, "own": 0}


def test_biases_norms_and_tied_tables_cost_no_counted_flops():
  plain = Model(vocab=50, width=24, depth=3, head_width=8)
  switched = dataclasses.replace(plain, bias=True, norm_bias=True, tied=True, embedding_norm=True)
  assert counts.count_flops(switched, 9) == counts.count_flops(plain, 9)


def test_counting_a_large_model_allocates_nothing():
  model = Model(vocab=250_000, width=20_000, depth=100, head_width=100)
  assert counts.count_parameters(model).total > 4e11
