"""What cannot be is one sentence that names the field, before anything is built."""

import dataclasses
import math

import pytest

from gen import presets, validation
from gen.config import Run
from gen.errors import UserError


def run_with(changes):
  """Returns a run of three steps with `path: value` changed."""
  run = Run(steps=3)
  for path, value in changes.items():
    at = run
    *groups, name = path.split(".")
    for group in groups:
      at = getattr(at, group)
    assert hasattr(at, name)
    setattr(at, name, value)
  return run


GOOD = [
  {},
  {"steps": 0, "tokens": 1e6},
  {"steps": 0, "flops": 1e12},
  {"model.width": 30, "model.heads": 7, "model.head_width": 6},
  {"model.head_width": 32, "model.key_value_heads": 2},
  {"model.width": 27, "model.head_width": 9, "model.positions": "alibi"},
  {"data.batch": 12, "optimizer.microbatches": 4},
  {"optimizer.decay": 1.0, "optimizer.final": 1.0, "optimizer.warmup": 0.0},
  {"model.dropout": 0.0, "optimizer.clip": 0.0},
]


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_what_can_be_passes(changes):
  validation.check(run_with(changes))


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_can_be(name):
  validation.check(Run(model=presets.get(name), steps=1))


BAD = [
  ({"mesh": "data=4,rows=2"}, "mesh 'data=4,rows=2': axis 'rows' cannot be"),
  ({"layout": "zero4"}, "layout is 'zero4'; it must be one of ddp, zero1, zero2, zero3"),
  (
    {"layout": "zero1", "mesh": "fsdp=2"},
    "layout zero1 splits over the axis data, which mesh 'fsdp=2' lacks",
  ),
  ({"layout": "zero3"}, "mesh '' lacks; set mesh to data=N too"),
  (
    {"data.batch": 12, "mesh": "data=4,fsdp=2"},
    "data.batch is 12 rows, which .* among 8 parts .data x fsdp.",
  ),
  (
    {"data.batch": 16, "optimizer.microbatches": 4, "mesh": "data=8,tensor=2"},
    "data.batch / optimizer.microbatches is 4 rows, which mesh 'data=8,tensor=2' cannot divide among 8 parts",
  ),
  ({"model.family": "gpt"}, "model.family is 'gpt'; it must be one of encoder, decoder"),
  ({"model.activation": "tanh"}, "model.activation is 'tanh'"),
  ({"model.norm": "batch"}, "model.norm is 'batch'"),
  ({"model.norm_placement": "middle"}, "model.norm_placement"),
  ({"model.positions": "absolute"}, "model.positions is 'absolute'; it must be one of none, learned"),
  ({"model.dtype": "int8"}, "model.dtype is 'int8'"),
  ({"model.remat": "some"}, "model.remat"),
  ({"data.tokenizer": "words"}, "data.tokenizer is 'words'"),
  ({"optimizer.schedule": "step"}, "optimizer.schedule"),
  ({"model.width": 0}, "model.width is 0; it must be greater than 0"),
  ({"model.depth": -1}, "model.depth is -1"),
  ({"data.length": 0}, "data.length is 0; it must be greater than 0"),
  ({"data.batch": -3}, "data.batch is -3"),
  ({"model.vocab": -1}, "model.vocab is -1; it must be 0 or more"),
  ({"optimizer.peak_learning_rate": 0.0}, "optimizer.peak_learning_rate is 0.0"),
  ({"optimizer.peak_learning_rate": math.nan}, "optimizer.peak_learning_rate is nan"),
  ({"optimizer.peak_learning_rate": math.inf}, "optimizer.peak_learning_rate is inf"),
  ({"optimizer.warmup": 1.5}, r"optimizer.warmup is 1.5; it must be in \[0, 1\)"),
  ({"optimizer.beta2": 1.0}, "optimizer.beta2 is 1.0"),
  ({"model.dropout": 1.0}, "model.dropout is 1.0"),
  ({"data.validation_fraction": -0.1}, "data.validation_fraction"),
  ({"steps": -1}, "steps is -1; it must be 0 or more"),
  ({"steps": 0, "flops": -1e9}, "flops is -1000000000.0; it must be 0 or more"),
  ({"steps": 0, "tokens": -5.0}, "tokens is -5.0; it must be 0 or more"),
  ({"model.width": 30}, "model.width 30 is not a multiple of model.head_width 32; change one of them"),
  (
    {"model.heads": 4, "model.key_value_heads": 3},
    "the 4 heads are not a multiple of model.key_value_heads 3",
  ),
  ({"model.width": 27, "model.head_width": 9}, "rotary positions turn pairs, and model.head_width 9 is odd"),
  ({"model.heads": 4, "model.decoder_heads": 3}, "model.decoder_heads 3 does not divide"),
  (
    {"data.batch": 10, "optimizer.microbatches": 4},
    "data.batch 10 is not divisible into optimizer.microbatches 4",
  ),
  ({"steps": 3, "tokens": 1e6}, "exactly one of steps, tokens and flops .*given: steps=3 and tokens=1e\\+06"),
  ({"steps": 0, "tokens": 1e6, "flops": 1e9}, "given: tokens=1e\\+06 and flops=1e\\+09"),
  ({"steps": 0}, "given: none of them"),
]


@pytest.mark.parametrize(("changes", "words"), BAD, ids=[str(case[0]) for case in BAD])
def test_what_cannot_be_is_one_sentence_that_names_it(changes, words):
  with pytest.raises(UserError, match=words) as raised:
    validation.check(run_with(changes))
  assert "\n" not in str(raised.value)


def test_a_sweeps_base_needs_no_horizon():
  validation.check(Run(), horizon=False)


def test_every_choice_and_every_number_that_is_checked_is_a_field():
  paths = [
    *validation.CHOICES,
    *f"{validation.POSITIVE} {validation.NOT_NEGATIVE} {validation.FRACTIONS}".split(),
  ]
  for path in paths:
    at = Run
    for name in path.split("."):
      at = {field.name: field.type for field in dataclasses.fields(at)}[name]
    assert at in (int, float, str), path


def test_every_number_of_a_run_is_checked_or_may_be_anything():
  free = {
    "model.position_offset",
    "model.embedding_scale",
    "model.logits_scale",
    "model.attention_scale",
    "data.vocab",
  }
  checked = set(f"{validation.POSITIVE} {validation.NOT_NEGATIVE} {validation.FRACTIONS}".split())
  for field in dataclasses.fields(Run):
    group = {field.name: field.type}
    if dataclasses.is_dataclass(field.type):
      group = {f"{field.name}.{inner.name}": inner.type for inner in dataclasses.fields(field.type)}
    for path, kind in group.items():
      assert kind not in (int, float) or path in checked | free, path
