"""What cannot be is one sentence that names the field, before anything is built."""

import math

import pytest

from gen import presets
from gen.cli import field_help
from gen.config import Run, Sweep, field_ranges, validation
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
  validation.check_run(run_with(changes))


@pytest.mark.parametrize("name", presets.preset_names())
def test_every_preset_can_be(name):
  validation.check_run(Run(model=presets.get_model(name), steps=1))


BAD = [
  ({"mesh": "data=4,rows=2"}, "mesh 'data=4,rows=2': axis 'rows' is none of data, fsdp, tensor"),
  ({"layout": "zero4"}, "layout is 'zero4'; it must be one of ddp, zero1, zero2, zero3"),
  (
    {"layout": "zero1", "mesh": "fsdp=2"},
    "layout zero1 splits over the axis data, but mesh 'fsdp=2' does not have it",
  ),
  ({"layout": "zero3"}, "but mesh '' does not have it; set mesh to data=N too"),
  (
    {"data.batch": 12, "mesh": "data=4,fsdp=2"},
    "data.batch is 12 rows, which .* among 8 parts .data x fsdp.",
  ),
  (
    {"data.batch": 16, "optimizer.microbatches": 4, "mesh": "data=8,tensor=2"},
    "data.batch / optimizer.microbatches is 4 rows, which mesh 'data=8,tensor=2' cannot divide among 8 parts",
  ),
  (
    {"model.width": 60, "model.head_width": 12, "data.batch": 8, "mesh": "tensor=2"},
    "the number of heads is 5, which mesh 'tensor=2' cannot divide among 2 devices",
  ),
  (
    {"model.feed_forward": 99, "data.batch": 8, "mesh": "tensor=2"},
    "the feed-forward width is 99, which mesh 'tensor=2' cannot divide",
  ),
  (
    {"model.width": 60, "model.head_width": 12, "data.batch": 16, "mesh": "fsdp=8"},
    "model.width is 60, which mesh 'fsdp=8' cannot divide among 8 devices .fsdp.; set it to a multiple of 8",
  ),
  (
    {"model.width": 60, "model.head_width": 12, "data.batch": 16, "mesh": "data=8", "layout": "zero3"},
    "model.width is 60, which mesh 'data=8' cannot divide among 8 devices .data x fsdp.",
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
  ({"model.width": 0}, "model.width is 0; it must be 1 or more"),
  ({"model.depth": -1}, "model.depth is -1"),
  ({"data.length": 0}, "data.length is 0; it must be 1 or more"),
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
  (
    {"model.width": 27, "model.head_width": 9},
    "model.head_width is 9; it must be even for model.positions rotary",
  ),
  ({"model.rotary_width": 7}, "model.rotary_width is 7; it must be even"),
  ({"model.rotary_width": 64}, "model.rotary_width 64 is more than model.head_width 32"),
  (
    {"model.rotary_context": 9, "model.rotary_low": 5.0},
    "model.rotary_high 4 must be more than model.rotary_low 5",
  ),
  ({"model.window": 3, "model.family": "encoder_decoder"}, "model.window is for decoders and encoders, not"),
  ({"model.window": 3, "model.global_every": 2}, "model.global_every is for an encoder with model.window"),
  ({"model.global_every": 2, "model.family": "encoder"}, "set that too, or leave it at 0"),
  (
    {"model.window_rotary_base": 9.0},
    "model.window_rotary_base needs model.global_every",
  ),
  (
    {"model.first_norm": False, "model.norm_placement": "post"},
    "model.first_norm=False needs model.norm_placement pre",
  ),
  ({"model.parallel": True, "model.norm_placement": "post"}, "model.parallel adds two branches of one input"),
  ({"model.qk_norm_joint": True}, "set model.qk_norm too"),
  ({"model.heads": 4, "model.decoder_heads": 3}, "model.decoder_heads 3 does not divide"),
  (
    {"data.batch": 10, "optimizer.microbatches": 4},
    "data.batch 10 is not divisible by optimizer.microbatches 4",
  ),
  (
    {"steps": 3, "tokens": 1e6},
    "exactly one of steps, tokens and flops .*set now: steps=3 and tokens=1e\\+06",
  ),
  ({"steps": 0, "tokens": 1e6, "flops": 1e9}, "set now: tokens=1e\\+06 and flops=1e\\+09"),
  ({"steps": 0}, "set now: none of them"),
]


@pytest.mark.parametrize(("changes", "words"), BAD, ids=[str(case[0]) for case in BAD])
def test_what_cannot_be_is_one_sentence_that_names_it(changes, words):
  with pytest.raises(UserError, match=words) as raised:
    validation.check_run(run_with(changes))
  assert "\n" not in str(raised.value)


def test_a_sweeps_base_needs_no_horizon():
  validation.check_run(Run(), horizon=False)


def numbers(kind):
  return {row.path for row in field_help.field_rows(kind) if row.kind in ("int", "float")}


def test_every_number_of_a_config_has_a_range_and_every_range_a_field():
  assert set(field_ranges.RUN) == numbers(Run)
  assert set(field_ranges.SWEEP) == numbers(Sweep) - numbers(Run)
  assert set(validation.CHOICES) <= {row.path for row in field_help.field_rows(Run)}


@pytest.mark.parametrize("path", field_ranges.RUN)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1, 1e31, "", True])
def test_no_number_of_a_run_may_be_outside_its_range(path, value):
  with pytest.raises(UserError, match=f"^{path} is ") as raised:
    validation.check_run(run_with({path: value}))
  assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
  ("allowed", "inside", "outside"),
  [
    (field_ranges.Range(0, 1, open_high=True), [0, 0.5], [1, -1e-9]),
    (field_ranges.Range(0, 1, True, True), [0.5], [0, 1]),
    (field_ranges.Range(-2, 3), [-2, 3], [3.1, -2.1]),
  ],
)
def test_a_range_holds_its_closed_ends_alone(allowed, inside, outside):
  assert all(map(allowed.holds, inside)) and not any(map(allowed.holds, outside))


@pytest.mark.parametrize("name", ["attention_scale", "embedding_scale", "logits_scale", "initializer_scale"])
def test_a_factor_that_would_overflow_float32_is_refused_with_its_limit(name):
  with pytest.raises(UserError, match=rf"model\.{name} is 1e\+30; it must be at most 1,000,000"):
    validation.check_run(run_with({f"model.{name}": 1e30}))
  validation.check_run(run_with({f"model.{name}": 1e5}))
