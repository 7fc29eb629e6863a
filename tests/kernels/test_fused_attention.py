"""Kernels of accelerators say what attention written out says, and are refused with a reason where there is none."""

import contextlib
import dataclasses
import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas
from jax.experimental.pallas import tpu
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from gen.config import Model
from gen.errors import UserError
from gen.kernels import fused_attention, gradients
from gen.kernels.fused_attention import SegmentIds
from gen.models import language_model, layers, transformer
from tests import programs

B, H, K = 2, 2, 8


def mesh_of(platform, **sizes):
  """A mesh of chips that are not there."""
  sizes = sizes or {"data": 1}
  device = AbstractDevice(platform, 1, platform)
  types = (AxisType.Auto,) * len(sizes)
  return AbstractMesh(tuple(sizes.values()), tuple(sizes), types, abstract_device=device)


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def segments_of(seed, length):
  """Two or three documents a row, and padding at the end."""
  rows = np.sort(np.random.default_rng(seed).integers(1, 4, (B, length)), axis=1)
  rows[:, length - 5 :] = 0
  return rows.astype(np.int32)


def on_tpu(function, *arrays, simulated=False):
  """Runs a function on the CPU with a TPU's kernels: read line by line, or by a slow simulation of its memories."""
  with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
    patch.setattr(gradients, "target_platform", lambda: "tpu")
    if simulated:
      stack.enter_context(tpu.force_tpu_interpret_mode())
    else:
      patch.setattr(pallas, "pallas_call", functools.partial(pallas.pallas_call, interpret=True))
    return jax.block_until_ready(jax.jit(function)(*arrays))


def both(q, k, v, bias, queries, keys, causal, weights, dtype="float32", simulated=False):
  """Value and gradients of attention by the kernel, and written out."""
  narrow = [jnp.asarray(x, dtype) for x in (q, k, v)]

  def through_kernel(q, k, v, bias):
    return fused_attention.fused_dot_product_attention(q, k, v, bias, SegmentIds(queries, keys), 0.6, causal)

  def written_out(q, k, v, bias):
    hidden = transformer.attention_mask(queries, keys, causal)
    return gradients.dot_product_attention(q, k, v, hidden if bias is None else hidden + bias, 0.6)

  def differentiated(function):
    def run(*arrays):
      value, pull = jax.vjp(function, *arrays)
      return value, pull(weights.astype(value.dtype))

    return run

  found = on_tpu(differentiated(through_kernel), *narrow, bias, simulated=simulated)
  return found, jax.jit(differentiated(written_out))(*narrow, bias)


def close(found, wanted, tolerance):
  for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    np.testing.assert_allclose(
      np.asarray(one, np.float32), np.asarray(other, np.float32), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize(
  ("causal", "dtype", "simulated"),
  [(True, "float32", True), (False, "float32", False), (True, "bfloat16", False), (False, "bfloat16", False)],
)
def test_a_tpus_kernel_gives_values_and_gradients_of_packed_and_padded_rows(causal, dtype, simulated):
  queries = segments_of(5, 53)
  q, k, v, weights = (normal(seed, B, H, 53, K) for seed in range(4))
  found, wanted = both(q, k, v, None, queries, queries, causal, weights, dtype, simulated)
  close(found, wanted, 1e-5 if dtype == "float32" else 0.05)


def test_blocks_of_queries_and_keys_meet_the_diagonal_where_the_mask_has_it(monkeypatch):
  monkeypatch.setattr(fused_attention, "BLOCKS", (128,))
  queries = segments_of(5, 131)[:1]
  q, k, v, weights = (normal(seed, 1, 1, 131, K) for seed in range(4))
  close(*both(q, k, v, None, queries, queries, True, weights), 1e-5)


def test_a_learned_bias_has_the_gradient_that_it_has_written_out():
  queries, table = segments_of(5, 37), normal(4, 6, H)
  q, k, v, weights = (normal(seed, B, H, 37, K) for seed in range(4))
  places = np.arange(37)
  buckets = layers.relative_buckets(places[None, None] - places[None, :, None], 6, 20, True)[0]

  def bias(table):
    return jnp.moveaxis(jnp.take(table, buckets, axis=0), -1, 0)[None]

  found, wanted = both(q, k, v, bias(table), queries, queries, False, weights)
  close(found, wanted, 1e-5)
  pull = jax.vjp(bias, table)[1]
  close(pull(found[1][3]), pull(wanted[1][3]), 1e-4)


def test_queries_share_keys_of_another_text():
  queries, keys = segments_of(5, 29), segments_of(6, 43)
  q, weights = normal(0, B, 6, 29, K), normal(3, B, 6, 29, K)
  k, v = normal(1, B, 2, 43, K), normal(2, B, 2, 43, K)
  close(*both(q, k, v, None, queries, keys, False, weights), 1e-5)


MODEL = Model(vocab=31, width=24, heads=3, head_width=8, depth=2, scan=True, attention="fused")


@pytest.mark.slow
@pytest.mark.parametrize(
  "fields",
  [
    {},
    {"positions": "relative", "family": "encoder_decoder", "key_value_heads": 1, "remat": "full"},
  ],
  ids=str,
)
def test_a_model_learns_the_same_through_a_tpus_kernel(fields, random_parameters):
  model = dataclasses.replace(MODEL, **fields)
  params, ids = random_parameters(model), np.random.default_rng(0).integers(0, 31, (B, 19))
  others = {"source_bs": ids[:, 4:]} if model.family == "encoder_decoder" else {}

  def value_and_gradient(params, attention):
    module = language_model.build_model(dataclasses.replace(model, attention=attention))
    logits, pull = jax.vjp(lambda p: module.apply({"params": p}, ids, **others), params)
    return logits, pull(normal(1, *logits.shape))

  found = on_tpu(lambda p: value_and_gradient(p, "fused"), params)
  close(found, jax.jit(lambda p: value_and_gradient(p, "plain"))(params), 2e-4)


def test_on_a_cpu_auto_is_the_plain_program_and_fused_is_refused():
  def program(attention):
    model = dataclasses.replace(MODEL, attention=attention)
    ids = jnp.zeros((B, 200), jnp.int32)
    apply = language_model.build_model(model).apply
    return str(jax.make_jaxpr(apply)({"params": language_model.parameter_shapes(model)}, ids))

  assert re.sub("0x[0-9a-f]+", "", program("auto")) == re.sub("0x[0-9a-f]+", "", program("plain"))
  with pytest.raises(UserError, match="fused, but there is no attention kernel for a cpu"):
    program("fused")


@pytest.mark.parametrize(
  ("platform", "fields", "prefix", "words"),
  [
    ("tpu", {}, True, "no kernel supports attention in both directions inside a prefix"),
    ("tpu", {"positions": "transformer_xl"}, False, "the scores of model.positions transformer_xl"),
    ("tpu", {"dtype": "float16"}, False, "bfloat16 and float32, not float16"),
    ("tpu", {"head_width": 136}, False, "not model.head_width 136"),
    ("gpu", {"positions": "alibi"}, False, "not used with the bias of model.positions alibi"),
    ("gpu", {"dtype": "bfloat16"}, False, "the cuDNN kernel is not available: cuDNN is not detected;"),
  ],
)
def test_what_a_kernel_cannot_do_is_one_sentence_and_auto_goes_without(platform, fields, prefix, words):
  model = dataclasses.replace(MODEL, **fields)
  with jax.sharding.use_abstract_mesh(mesh_of(platform)):
    with pytest.raises(UserError, match=words):
      fused_attention.can_use_kernel(model, 128, 128, prefix=prefix)
    auto = dataclasses.replace(model, attention="auto")
    assert not fused_attention.can_use_kernel(auto, 128, 128, prefix=prefix)


def test_auto_takes_a_tpus_kernel_from_128_tokens_on():
  model = dataclasses.replace(MODEL, attention="auto")
  with jax.sharding.use_abstract_mesh(mesh_of("tpu")):
    assert [fused_attention.can_use_kernel(model, length, 200) for length in (127, 128)] == [False, True]
    assert not fused_attention.can_use_kernel(dataclasses.replace(model, attention="plain"), 200, 200)


def test_who_asks_for_attention_weights_or_fills_a_cache_gets_them():
  module, ids, places = (
    language_model.build_model(MODEL),
    jnp.ones((B, 5), jnp.int32),
    jnp.zeros((B, 7), jnp.int32),
  )

  def asked(params):
    read = module.apply({"params": params}, ids, mutable=["intermediates"])[1]
    _, filled = module.apply({"params": params}, ids, places, method="prefill", mutable=["cache"])
    return read, module.apply({"params": params, **filled}, ids[:, 0], method="step", mutable=["cache"])

  found, _ = jax.eval_shape(asked, language_model.parameter_shapes(MODEL))
  assert [leaf.shape for leaf in jax.tree.leaves(found)] == [(2, B, 3, 5, 5)]


@pytest.mark.parametrize("heads", [{"heads": 4}, {"heads": 4, "key_value_heads": 1}, {"heads": 3}], ids=str)
def test_on_a_mesh_each_device_runs_the_kernel_on_its_rows_and_heads(heads):
  model = dataclasses.replace(MODEL, **heads)
  with jax.sharding.use_abstract_mesh(mesh_of("tpu", data=2, tensor=2)):
    program = str(
      jax.make_jaxpr(language_model.build_model(model).apply)(
        {"params": language_model.parameter_shapes(model)}, jnp.zeros((6, 200), jnp.int32)
      )
    )
  kept = 4 // 2 if heads["heads"] == 4 else 3  # heads that tensor does not divide are whole
  results = re.findall(r":f32\[(\d+),(\d+),256,8\]\S* = pallas_call", program)
  assert results == [("3", str(kept))]


@pytest.mark.slow
def test_on_four_devices_values_and_gradients_are_those_of_one():
  done = programs.run([Path(__file__).with_name("fused_on_four_devices.py")])
  assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def cudnn(monkeypatch):
  """Pretends that cuDNN is there, for a GPU to be lowered for."""
  from jax._src.cudnn import fused_attention_stablehlo as library

  monkeypatch.setattr(library, "check_cudnn_version", lambda: 91000)
  monkeypatch.setattr(gradients, "target_platform", lambda: "gpu")


@pytest.mark.parametrize(("groups", "dtype", "name"), [(3, "bfloat16", "bf16"), (1, "float16", "f16")])
def test_a_gpus_program_calls_cudnns_kernels_with_narrow_arrays(cudnn, groups, dtype, name):
  model = dataclasses.replace(MODEL, dtype=dtype, key_value_heads=groups)

  def loss(params, ids):
    return language_model.build_model(model).apply({"params": params}, ids).sum()

  ids = jax.ShapeDtypeStruct((B, 130), jnp.int32)
  program = jax.jit(jax.grad(loss)).trace(language_model.parameter_shapes(model), ids)
  text = program.lower(lowering_platforms=("cuda",)).as_text()
  calls = [line for line in text.splitlines() if "__cudnn$fmha" in line]
  assert [re.search(r"__cudnn\$(\w+)", line)[1] for line in calls] == [
    "fmhaScaleBiasSoftmax",
    "fmhaScaleBiasSoftmaxBackward",
  ]
  for line in calls:
    kinds = re.search(r" : \((.*)\) ->", line)[1]
    assert kinds.startswith(f"tensor<{B}x130x3x8x{name}>, tensor<{B}x130x{groups}x8x{name}>, ")
    assert f"tensor<{B}x1x130x130x{name}>" in kinds
    assert "mask_type" in line and "CAUSAL" in line
  assert not re.search(r"x130x130xf32", text)


@pytest.mark.parametrize(
  ("length", "fields", "words"),
  [
    (130, {"dtype": "float32"}, "bfloat16 and float16, not float32"),
    (130, {"dtype": "bfloat16", "head_width": 12}, "multiple of 8"),
    (131, {"dtype": "bfloat16"}, "sequence length"),
  ],
)
def test_what_cudnn_says_it_cannot_do_is_said_in_the_sentence(cudnn, length, fields, words):
  model = dataclasses.replace(MODEL, **fields)
  with pytest.raises(UserError, match=words):
    fused_attention.can_use_kernel(model, length, length)
  assert not fused_attention.can_use_kernel(dataclasses.replace(model, attention="auto"), length, length)
