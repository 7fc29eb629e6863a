"""A layout is a table: what each stage splits, what stays whole, and that it says so. No device is needed."""

import math

import jax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from gen import presets
from gen.config import Model
from gen.errors import UserError
from gen.models import language_model
from gen.sharding import layouts, mesh

P = PartitionSpec


def layout(name, **sizes):
  return layouts.ShardingLayout(AbstractMesh(tuple(sizes.values()), tuple(sizes)), name)


def per_device(model, placed, part):
  """Returns numbers on a device by brute force over the specs, and of the whole."""
  shapes = language_model.parameter_shapes(model)
  specs = placed.specs(language_model.logical_axes(model), shapes, part)
  mine = whole = 0
  for spec, leaf in zip(
    jax.tree.leaves(specs, is_leaf=lambda x: isinstance(x, PartitionSpec)),
    jax.tree.leaves(shapes),
    strict=True,
  ):
    parts = 1
    for size, entry in zip(leaf.shape, tuple(spec), strict=True):
      axes = (entry,) if isinstance(entry, str) else entry or ()
      count = math.prod(placed.sizes[axis] for axis in axes)
      assert size % count == 0
      parts *= count
    mine, whole = mine + math.prod(leaf.shape) // parts, whole + math.prod(leaf.shape)
  return mine, whole


@pytest.mark.parametrize(
  ("names", "shape", "sizes", "over", "spec"),
  [
    (("embed", "mlp"), (6, 8), {"data": 2}, ("data",), P("data", None)),
    (("embed", "mlp"), (6, 8), {"data": 2, "tensor": 4}, ("data",), P("data", "tensor")),
    (("embed", "mlp"), (6, 8), {"data": 4}, ("data",), P(None, "data")),  # the next that divides
    (("embed", "mlp"), (5, 9), {"data": 2, "tensor": 2}, ("data",), P(None, None)),
    (("layers", "norm"), (4, 6), {"data": 2}, ("data",), P(None, "data")),  # never the layers
    (("mlp",), (16,), {"fsdp": 2, "tensor": 4}, ("fsdp",), P(("tensor", "fsdp"))),
    (("vocab", "embed"), (12, 8), {"data": 2, "fsdp": 4}, ("fsdp", "data"), P(None, ("fsdp", "data"))),
    (("vocab", "embed"), (6, 4), {"data": 2, "fsdp": 4}, ("fsdp", "data"), P("data", "fsdp")),  # apart
    (("positions", "embed"), (7, 8), {"fsdp": 2, "tensor": 4}, ("fsdp",), P(None, ("tensor", "fsdp"))),
    (("norm",), (8,), {"tensor": 4}, (), P(None)),
    ((None, "heads"), (32, 4), {"tensor": 2}, (), P(None, "tensor")),
    (("embed",), (8,), {"data": 1}, ("data",), P(None)),
  ],
)
def test_a_tensor_is_split_where_it_divides(names, shape, sizes, over, spec):
  assert layouts.split_tensor(names, shape, sizes, over)[0] == spec


def test_a_dimension_that_another_axis_has_split_before_is_named_with_what_is_left():
  _, whole = layouts.split_tensor(("vocab",), (12,), {"data": 3, "tensor": 4, "fsdp": 2}, ("fsdp", "data"))
  said = layouts.undivided_sentences({each: ["table"] for each in whole})
  assert "vocab of size 12 (3 per device after other axes) is not divisible by fsdp=2 and" in said[1]
  assert "--config.model.vocab=16 would pad it" in said[1]


def test_a_dimension_that_does_not_divide_is_named_and_a_padded_vocabulary_offered():
  model = Model(vocab=257, width=12, depth=1, heads=3, head_width=4, feed_forward=16)
  placed = layout("ddp", tensor=2)
  found = layouts.undivided_sentences(
    placed.undivided(language_model.logical_axes(model), language_model.parameter_shapes(model))
  )
  assert any(
    "heads of size 3 is not divisible by tensor=2 and is not split in target/stack" in x for x in found
  )
  assert any("vocab of size 257" in x and "--config.model.vocab=258" in x for x in found)
  assert len(found) == 3  # kv_heads too
  even = Model(vocab=258, width=12, depth=1, heads=4, head_width=3, feed_forward=16, positions="none")
  assert not placed.undivided(language_model.logical_axes(even), language_model.parameter_shapes(even))


@pytest.mark.parametrize(
  "family", ["gpt2", "bert-base-mlm", "t5-small", "bart-base", "bloom-560m", "chinchilla-44m"]
)
def test_zero_3_holds_an_eighth_and_tensor_with_fsdp_little_more(family):
  model = presets.get_model(family)
  model.context = model.context or 512
  mine, whole = per_device(model, layout("zero3", data=8), "parameters")
  assert whole / 8 <= mine <= 1.02 * whole / 8
  model.vocab += -model.vocab % 4
  mine, whole = per_device(model, layout("ddp", fsdp=2, tensor=4), "parameters")
  assert whole / 8 <= mine <= 1.03 * whole / 8


@pytest.mark.parametrize("family", ["decoder", "encoder", "encoder_decoder", "rnn", "lstm", "gru"])
@pytest.mark.parametrize("name", list(layouts.STAGES))
def test_each_stage_splits_its_parts_and_no_other(family, name):
  more = {} if family in ("rnn", "lstm", "gru") else {"heads": 2, "head_width": 4, "positions": "none"}
  model = Model(family=family, vocab=24, width=16, depth=3, **more)
  placed = layout(name, data=8)
  expected = {
    "ddp": (1, 1, 1), "zero1": (1, 1, 8), "zero2": (1, 8, 8), "zero3": (8, 8, 8)
  }[name]  # fmt: skip
  for part, parts in zip(("parameters", "gradients", "opt_state"), expected, strict=True):
    mine, whole = per_device(model, placed, part)
    assert mine * parts == whole


def test_fsdp_splits_everything_whatever_the_stage():
  model = Model(vocab=24, width=16, depth=3, heads=2, head_width=4, positions="none")
  placed = layout("zero1", data=4, fsdp=2)
  assert [per_device(model, placed, part)[1] // per_device(model, placed, part)[0]
          for part in ("parameters", "gradients", "opt_state")] == [2, 2, 8]  # fmt: skip


def test_a_mesh_must_multiply_to_the_devices():
  with pytest.raises(
    UserError, match=r"mesh 'data=3,tensor=2' needs 6 devices, but jax has 1 .cpu.; XLA_FLAGS=.*=6"
  ):
    mesh.build_mesh("data=3,tensor=2", jax.devices()[:1])
  assert dict(mesh.build_mesh("data=1,tensor=1", jax.devices()[:1]).shape) == {"data": 1, "tensor": 1}
