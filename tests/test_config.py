"""Configs survive JSON, and a hash names what is computed and nothing else."""

import copy
import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen import config, presets
from gen.config import Criteria, Data, Model, Optimizer, Run, Sweep
from gen.config.model import DefaultText
from gen.errors import UserError

RUN = Run(model=Model(width=48), data=Data(length=33), optimizer=Optimizer(clip=0.5), steps=7)
SWEEP = Sweep(
  budgets=(1e9, 2e9),
  widths=((8, 16), (24,)),
  depths=((8, 2), (16, 3)),
  seeds=(0, 4),
  criteria=Criteria(min_steps=3),
)


@pytest.mark.parametrize(
  "each", [RUN, SWEEP, Run(), *(Run(model=presets.get_model(name)) for name in presets.preset_names())]
)
def test_a_config_comes_back_from_json_equal_and_with_tuples(each):
  text = json.dumps(config.to_dict(each))
  back = config.from_dict(type(each), json.loads(text))
  assert back == each
  assert json.dumps(config.to_dict(back)) == text


@given(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_any_values_come_back_from_json_bit_for_bit(text, number, rate, flag):
  run = Run(name=text, seed=number, tokens=rate, tensorboard=flag)
  assert config.from_dict(Run, json.loads(json.dumps(config.to_dict(run)))) == run


def test_a_field_that_is_left_out_has_its_default():
  assert config.from_dict(Run, {"steps": 3, "model": {"width": 8}}) == Run(steps=3, model=Model(width=8))


@pytest.mark.parametrize(
  ("values", "words"),
  [({"stepz": 3}, "run has no field 'stepz'"), ({"model": {"with": 3}}, "model has no field 'with'")],
)
def test_an_unknown_field_is_named_with_those_that_there_are(values, words):
  with pytest.raises(UserError, match=f"{words}; it has .*(steps|width)"):
    config.from_dict(Run, values)


def changed(value):
  """Returns another value of the same type."""
  if isinstance(value, bool):
    return not value
  return value + ("x" if isinstance(value, str) else (2.5,) if isinstance(value, tuple) else 1)


def leaves(values, path=()):
  for name, value in values.items():
    if isinstance(value, dict):
      yield from leaves(value, (*path, name))
    else:
      yield (*path, name)


# Fields whose values have a form of their own.
OTHER = {
  "mixture": [{"name": "law", "corpus": "", "weight": 2.0, "max_epochs": 0.0}],
  "mixture_schedule": [[0.5, 1.0]],
}


def with_changed(run, path):
  values = config.to_dict(run)
  at = values
  for name in path[:-1]:
    at = at[name]
  texts = path[-1] in ("sources", "callbacks", "metrics", "frozen", "rate_multipliers")
  at[path[-1]] = OTHER.get(path[-1]) or (("mine.py:name",) if texts else changed(at[path[-1]]))
  return config.from_dict(Run, values)


# Where and how often something is written, and the name.
WRITTEN = {
  ("name",),
  ("trunk",),
  ("start_from",),
  ("branches",),
  ("log_every",),
  ("evaluate_every",),
  ("checkpoint_every",),
  ("checkpoint_seconds",),
  ("callback_every",),
  ("keep_checkpoints",),
  ("tensorboard",),
  ("wandb",),
  ("profile",),
  ("mesh",),
  ("layout",),
  ("data", "cache"),
  ("data", "max_bytes"),
  ("model", "attention"),
  ("model", "cache_format"),
}


@pytest.mark.parametrize("path", list(leaves(config.to_dict(RUN))), ids=".".join)
def test_the_hash_ignores_where_things_are_written_and_nothing_else(path):
  same = config.config_hash(with_changed(RUN, path)) == config.config_hash(RUN)
  assert same == (path in WRITTEN)


def test_the_hash_is_twelve_hex_digits_and_the_same_after_a_round_trip():
  found = config.config_hash(RUN)
  assert re.fullmatch("[0-9a-f]{12}", found)
  assert config.config_hash(config.from_dict(Run, json.loads(json.dumps(config.to_dict(RUN))))) == found


def test_a_mesh_is_read_in_any_order_and_given_outermost_first():
  assert list(config.mesh_shape("tensor=2, data=4").items()) == [("data", 4), ("tensor", 2)]
  assert config.mesh_shape("") == {}


@pytest.mark.parametrize(
  ("mesh", "words"),
  [
    ("pipe=2", "axis 'pipe' is none of data, fsdp, tensor"),
    ("data=2,data=4", "axis 'data' occurs twice"),
    ("data", "data is ''; it must be a number of devices, as in data=4"),
    ("fsdp=-2", "fsdp is '-2'"),
    ("tensor=0", "tensor is '0'"),
    ("data=2.5", "data is '2.5'"),
  ],
)
def test_a_mesh_that_cannot_be_is_one_sentence(mesh, words):
  with pytest.raises(UserError, match=words):
    config.mesh_shape(mesh)


def test_sizes_of_zero_are_derived():
  model = Model(width=40, head_width=8)
  assert (model.n_heads, model.n_key_value_heads, model.attention_width) == (5, 5, 40)
  assert (model.feed_forward_width, model.target_depth) == (160, model.depth)
  model = Model(width=40, head_width=8, heads=6, key_value_heads=2, feed_forward=11)
  assert (model.attention_width, model.key_value_width, model.feed_forward_width) == (48, 16, 11)


def test_a_decoder_of_another_shape_keeps_its_encoders_attention_width():
  model = Model(family="encoder_decoder", width=12, heads=4, head_width=6, decoder_heads=3, decoder_depth=5)
  assert (model.target.n_heads, model.target.head_width, model.target_depth) == (3, 8, 5)
  assert model.target.attention_width == model.attention_width
  plain = dataclasses.replace(model, decoder_heads=0)
  assert plain.target is plain
  assert dataclasses.replace(plain, family="decoder").target_depth == plain.depth  # a decoder has one stack


def test_a_dtype_that_the_user_set_is_told_from_the_default_and_both_are_one_run():
  unset, written = Model(width=48), Model(width=48, dtype="float32")
  marked = [isinstance(model.dtype, DefaultText) for model in (unset, copy.deepcopy(unset), written)]
  assert marked == [True, True, False] and unset == written
  assert not isinstance(
    config.from_dict(Model, json.loads(json.dumps(config.to_dict(unset)))).dtype, DefaultText
  )
  assert config.config_hash(Run(model=unset)) == config.config_hash(Run(model=written))
