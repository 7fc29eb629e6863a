"""Quantized models of every family compute what their numbers say, and what cannot be quantized is one sentence."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.errors import UserError
from gen.generation.decoding import decode, decoders
from gen.generation.decoding.sampling import Sampler
from gen.kernels import losses
from gen.precision.quantized_array import QuantizedArray
from gen.quantization import calibration, kernel_places, model_quantization
from gen.quantization.model_scheme import ModelScheme, parse_scheme
from gen.training import step

FAMILIES = ("decoder", "encoder_decoder", "encoder", "distances", "gru", "lstm")


def loss_of(model, params, batch):
  return step.batch_loss(model, losses.LossTerms(), params, batch)


def widen(leaf):
  return leaf.dequantize() if isinstance(leaf, QuantizedArray) else jnp.asarray(leaf, jnp.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_and_logits_of_every_family_are_those_of_the_numbers_that_fewer_bits_stand_for(
  family, toy, toy_batch
):
  model, module, params = toy(family)
  scheme = parse_scheme("int4", "none", "affine,group:2", embeddings="int8")
  made = model_quantization.quantize_model(params, model, scheme)
  wide = jax.tree.map(widen, made.params, is_leaf=lambda leaf: isinstance(leaf, QuantizedArray))
  batch = toy_batch(model)
  program = jax.jit(
    lambda p: (loss_of(model, p, batch).nll, module.apply({"params": p}, batch.inputs_bt, **sources))
  )
  sources = {} if batch.source_bs is None else {"source_bs": batch.source_bs}
  (nll, logits), (wide_nll, wide_logits) = program(made.params), program(wide)
  np.testing.assert_allclose(nll, wide_nll, rtol=1e-5)
  np.testing.assert_allclose(logits, wide_logits, atol=1e-5)
  assert made.bytes_after < 0.8 * made.bytes_before
  assert made.bytes_after == sum(leaf.nbytes for leaf in jax.tree.leaves(made.params))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["decoder", "encoder_decoder", "gru"])
def test_eight_bits_generate_with_a_cache_as_they_read_without_one(family, toy):
  model, module, params = toy(family)
  made = model_quantization.quantize_model(params, model, parse_scheme("int8", "int8", ""))
  prompts = [[3, 7, 2], [5]]
  greedy = Sampler(temperature=0.0)
  found = decode.generate(module, made.params, prompts, greedy, jax.random.key(0), max_tokens=4).rows()
  text = np.array([[*([0] if model.family == "encoder_decoder" else prompts[0]), *found[0]]])
  sources = {"source_bs": jnp.array([prompts[0]])} if model.family == "encoder_decoder" else {}
  logits = module.apply({"params": made.params}, jnp.asarray(text), **sources)
  assert np.argmax(np.asarray(logits)[0, -5:-1], -1).tolist() == found[0].tolist()


@pytest.mark.slow
def test_a_cache_of_int8_changes_little_and_is_counted(toy):
  model, _, params = toy("decoder")
  narrow = dataclasses.replace(model, cache_format="int8")
  ids = np.random.default_rng(1).integers(1, 31, (2, 8))
  found = {}
  for config in (model, narrow):
    decoder = decoders.make_decoder(config)
    logits, cache = decoder.prefill(params, decoders.PromptBatch(ids[:, :7], np.zeros(2, np.int32)), 16)
    logits, cache = decoder.step(params, cache, jnp.asarray(ids[:, 7]))
    found[config.cache_format] = np.asarray(logits)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(cache)) == decoders.cache_bytes(config, 2, 16)
  scale = found["float"].std()
  assert 0 < np.abs(found["int8"] - found["float"]).max() < 0.05 * scale


def test_statistics_are_those_of_the_inputs_of_every_product(toy, toy_batch):
  model, _, params = toy("decoder")
  batch = toy_batch(model)
  found = calibration.observe_inputs(params, model, [batch], hessians=True)
  places = [place for place in kernel_places.find_places(params, model) if place.multiplied]
  assert set(found) == {(place.name, layer) for place in places for layer in range(place.layers or 1)}
  tokens = batch.inputs_bt.size
  assert {statistics.rows for (name, _), statistics in found.items() if "layers" in name} == {tokens}
  # The first layer's queries, keys and values read the same norm of the same embeddings.
  shared = [found[f"target/stack/layers/attention/{name}/kernel", 0] for name in ("query", "key", "value")]
  assert np.array_equal(shared[0].hessian_ii, shared[1].hessian_ii)
  ids, positions = params["embedding"]["embedding"], params["target"]["embeddings"]["positions"]["embedding"]
  x = np.asarray(ids[batch.inputs_bt] + positions[batch.positions_bt], np.float64)
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + model.norm_epsilon)
  norm = params["target"]["stack"]["layers"]["attention_norm"]
  x = (x * norm["scale"][0] + norm["bias"][0]).reshape(-1, model.width)
  np.testing.assert_allclose(shared[0].hessian_ii, x.T @ x, rtol=1e-4, atol=1e-3)
  np.testing.assert_allclose(shared[0].largest_i, np.abs(x).max(0), rtol=1e-4)


@pytest.mark.parametrize("family", ["decoder", "gru"])
def test_static_scales_and_smoothing_come_from_calibration(family, toy, toy_batch):
  model, _, params = toy(family)
  batch = toy_batch(model)
  scheme = parse_scheme("int8", "int8", "static,smooth:0.5")
  seen = calibration.observe_inputs(params, model, [batch], hessians=False)
  made = model_quantization.quantize_model(params, model, scheme, seen)
  arrays = [leaf for leaf in jax.tree.leaves(made.params, is_leaf=lambda x: isinstance(x, QuantizedArray))
            if isinstance(leaf, QuantizedArray) and leaf.activations == "int8"]  # fmt: skip
  assert all(leaf.input_scale is not None for leaf in arrays)
  assert any(leaf.smoothing is not None for leaf in arrays)
  before, after = (float(loss_of(model, tree, batch).nll) for tree in (params, made.params))
  assert abs(after - before) < 0.02 * before


def test_gptq_leaves_less_error_in_results_than_rounding(toy, toy_batch):
  model, _, params = toy("decoder")
  seen = calibration.observe_inputs(params, model, [toy_batch(model, rows=8)], hessians=True)
  errors = {}
  for words in ("group:4", "group:4,gptq", "group:4,gptq:act_order"):
    scheme = parse_scheme("int4", "none", words)
    # Rounding reports its error of results too, if it has the statistics.
    scheme = dataclasses.replace(scheme, static=not scheme.needs_calibration)
    made = model_quantization.quantize_model(params, model, scheme, seen)
    errors[words] = np.array([r.output_error for r in made.reports if "layers" in r.name])
  assert (errors["group:4,gptq"] < errors["group:4"]).mean() > 0.8
  assert errors["group:4,gptq:act_order"].mean() < errors["group:4"].mean()


def test_switches_leave_embeddings_head_and_norms_as_they_are(toy):
  model, _, params = toy("gru")
  scheme = parse_scheme("int8", "none", "", embeddings="float32", head="float32", vectors="bfloat16")
  made = model_quantization.quantize_model(params, model, scheme)
  assert made.params["embedding"]["embedding"].dtype == np.float32
  assert made.params["head"]["logits"]["kernel"].dtype == np.float32
  assert made.params["target"]["norm"]["scale"].dtype == jnp.bfloat16
  assert isinstance(made.params["target"]["layers"]["kernel"], QuantizedArray)


def test_groups_are_checked_before_the_first_kernel_is_reported(toy):
  model, _, params = toy("decoder")
  reported = []
  # 6 divides the 12 inputs of most kernels, and not the 8 of the second product of a feed-forward.
  with pytest.raises(UserError, match=r"groups of 6 do not divide the 8 inputs of .*out"):
    model_quantization.quantize_model(
      params, model, parse_scheme("int4", "none", "group:6"), report=reported.append
    )
  assert reported == []


def test_what_cannot_be_quantized_is_one_sentence(toy):
  model, _, params = toy("decoder")
  made = model_quantization.quantize_model(params, model, ModelScheme())
  broken = kernel_places.replace_leaves(
    params,
    {("target", "stack", "layers", "attention", "out", "kernel"): np.full((2, 3, 4, 12), np.nan, np.float32)},
  )
  own = dataclasses.replace(model, family="mine.py:Bag")
  for call, sentence in (
    (lambda: model_quantization.quantize_model(made.params, model, ModelScheme()), "quantized already"),
    (
      lambda: model_quantization.quantize_model(broken, model, ModelScheme()),
      "out/kernel, layer 0 holds weights that",
    ),
    (
      lambda: model_quantization.quantize_model(params, model, parse_scheme("int4", "none", "group:5")),
      "divide the 12",
    ),
    (
      lambda: model_quantization.quantize_model(params, model, parse_scheme("int4", "none", "gptq")),
      "calibration",
    ),
    (lambda: model_quantization.quantize_model(params, own, ModelScheme()), "no kernel that can"),
    (lambda: calibration.observe_inputs(params, model, [], hessians=False), "no tokens"),
    (lambda: parse_scheme("nf4", "int8", ""), "nf4 levels are no integers"),
    (lambda: parse_scheme("nf4", "none", "affine"), "no affine"),
    (lambda: parse_scheme("int8", "none", "static"), "--activations=int8"),
    (lambda: parse_scheme("int8", "none", "group:0"), "from 1 to"),
    (lambda: parse_scheme("int8", "none", "tensor,channel"), "granularity twice"),
    (lambda: parse_scheme("int8", "none", "awq"), "unknown"),
  ):
    with pytest.raises(UserError, match=sentence) as raised:
      call()
    assert "\n" not in str(raised.value)
