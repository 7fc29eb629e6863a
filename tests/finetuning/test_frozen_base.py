"""QLoRA: gradients to adapters alone over a base of 4 bits, its bytes as predicted, and mixes that are refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.batch import Batch
from gen.config import Model
from gen.config.heads import HeadConfig
from gen.errors import UserError
from gen.finetuning import finetune, frozen_base, trained_part, tuned_folder, tuning_memory
from gen.finetuning.adapters import lora
from gen.finetuning.adapters.lora import LoraConfig
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms import task_loss
from gen.generation import loaded_model
from gen.kernels import quantized
from gen.models import heads, language_model
from gen.optimizers import make_update_rule
from gen.precision import quantized_array, quantizing
from gen.precision.quantized_array import QuantizedArray
from gen.precision.quantizing import WeightScheme
from gen.quantization import model_quantization
from gen.quantization.model_scheme import parse_scheme
from gen.training.run_log import journal

TEXT = HeadConfig("none")


def settings_of(**changes):
  values = {"task": "classify", "start_from": "runs/x", "data": "x.csv", "method": "lora", "rank": 2}
  return FinetuneSettings(**(values | changes))


@pytest.mark.parametrize("block", [1 << 20, 36])
@pytest.mark.parametrize("format", ["int8", "nf4"])
def test_the_gradient_of_a_product_is_that_of_its_numbers(format, block, monkeypatch):
  monkeypatch.setattr(quantized, "BLOCK_ELEMENTS", block)
  weights_oi = np.random.default_rng(0).normal(size=(7, 12)).astype(np.float32)
  matrix = quantizing.quantize_matrix(weights_oi, WeightScheme(format, granularity="group", group=4))
  array = quantized_array.store_matrices(
    [matrix], (12, 7), format=format, activations="none", inputs_first=True, stacked=False
  )
  x_ni = jnp.asarray(np.random.default_rng(1).normal(size=(5, 12)), jnp.float32)
  exact = jax.grad(lambda x: jnp.sin(x @ array.dequantize()).sum())(x_ni)
  got = jax.grad(lambda x: jnp.sin(quantized.multiply_stored(x, array)).sum())(x_ni)
  np.testing.assert_allclose(got, exact, atol=1e-5)


MODELS = {
  "decoder": (
    Model(vocab=11, width=8, depth=2, head_width=4, tied=True),
    ("attention/query", "attention/out"),
  ),
  "gru": (Model(family="gru", vocab=11, width=8, depth=2), ("layers",)),
}


@pytest.mark.parametrize("family", MODELS)
def test_gradients_of_adapters_are_those_beside_the_float_base_that_it_stands_for(family):
  model, targets = MODELS[family]
  random, config = np.random.default_rng(0), LoraConfig(2, 3.0, targets)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(random.normal(size=leaf.shape) / 3, jnp.float32),
    language_model.parameter_shapes(model),
  )
  base = frozen_base.quantize_base(params, model, "nf4")
  adapters = jax.tree.map(
    lambda leaf: leaf + random.normal(size=leaf.shape).astype(np.float32) / 3,
    lora.initialize_adapters(base, config, jax.random.key(1)),
  )
  ids_bt, module = jnp.array([[1, 5, 3], [2, 9, 4]]), language_model.build_model(model)

  def loss(adapters, base):
    return (module.apply({"params": lora.apply_adapters(base, adapters, config)}, ids_bt) ** 2).mean()

  got = jax.jit(jax.value_and_grad(loss))(adapters, base)
  wide = jax.jit(jax.value_and_grad(loss))(adapters, quantized_array.dequantize_tree(base))
  for ours, exact in zip(jax.tree.leaves(got), jax.tree.leaves(wide), strict=True):
    np.testing.assert_allclose(ours, exact, atol=2e-4)
  merged = quantized_array.dequantize_tree(lora.apply_adapters(base, adapters, config))
  plain = lora.apply_adapters(quantized_array.dequantize_tree(base), adapters, config)
  for ours, exact in zip(jax.tree.leaves(merged), jax.tree.leaves(plain), strict=True):
    np.testing.assert_allclose(ours, exact, atol=1e-6)


@pytest.mark.parametrize(
  ("family", "changes", "head"),
  [
    ("decoder", {"base_format": "nf4"}, HeadConfig("classify", ("a", "b", "c"))),
    ("decoder", {"base_format": "int8", "targets": ("feed_forward",)}, TEXT),
    ("decoder", {}, TEXT),
    ("decoder", {"method": "last:1"}, TEXT),
    ("gru", {"method": "full"}, TEXT),
  ],
)
def test_the_bytes_of_a_fine_tuning_are_those_of_its_arrays(family, changes, head):
  model, settings = MODELS[family][0], settings_of(**changes)
  params = language_model.initialize_parameters(model, jax.random.key(0))
  if settings.base_format:
    params = frozen_base.quantize_base(params, model, settings.base_format)
  params = heads.attach_head(params, model, head, jax.random.key(1))
  trained, frozen = trained_part.split_parameters(params, model, head, settings.method_name, settings.layers)
  if settings.method_name == "lora":
    config = LoraConfig(settings.rank, settings.alpha, settings.targets or LoraConfig.targets)
    trained[trained_part.ADAPTERS] = lora.initialize_adapters(params, config, jax.random.key(2))
  opt_state = make_update_rule(settings.optimizer_config).init(trained)
  found = tuning_memory.tuning_footprint(model, head, settings)
  count = model_quantization.count_bytes
  assert (found.frozen, found.trained, found.opt_state) == (count(frozen), count(trained), count(opt_state))


@pytest.mark.slow
def test_a_decoder_learns_beside_a_base_of_four_bits_and_its_folder_opens(run_of, data_of, tmp_path):
  settings = FinetuneSettings(
    task="classify", start_from=str(run_of("decoder")), data="made here", method="lora", base_format="nf4", rank=4,
    batch=8, epochs=2, learning_rate=2e-2, dropout=0.0, patience=0, few_shot=0, max_shapes=1, prompted_examples=0,
    form="head",
  )  # fmt: skip
  result = finetune.finetune_model(settings, tmp_path / "run", data=data_of("classify"))
  losses = [
    row["loss"] for row in journal.read_journal(tmp_path / "run/journal.jsonl") if row["kind"] == "train"
  ]
  assert np.mean(losses[-3:]) < np.mean(losses[:3])
  model = loaded_model.load_model(tmp_path / "run")
  assert {str(leaf.dtype) for leaf in jax.tree.leaves(model.params)} == {"float32"}
  assert result.parameters > 10 * result.trained_parameters
  head = tuned_folder.headed_checkpoint.read_head(tmp_path / "run")
  predicted = tuning_memory.tuning_footprint(model.model, head, settings)
  assert result.state_bytes == predicted.live
  full = tuning_memory.tuning_footprint(
    model.model, head, dataclasses.replace(settings, method="full", base_format="")
  )
  assert full.live > 5 * result.state_bytes


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"method": "full", "base_format": "nf4"}, "set method to lora, or leave base_format out"),
    ({"base_format": "int4", "quantize_weights": "int4"}, "and quantize_weights rounds in each step"),
    ({"base_format": "int3"}, "must be one of int8, int4, nf4"),
  ],
)
def test_mixes_that_cannot_be_are_refused_in_one_sentence(changes, sentence):
  with pytest.raises(UserError, match=sentence) as raised:
    settings_of(**changes).check()
  assert "\n" not in str(raised.value)


def test_a_quantized_checkpoint_takes_adapters_alone():
  model = MODELS["decoder"][0]
  params = language_model.initialize_parameters(model, jax.random.key(0))
  loaded = loaded_model.LoadedModel(model, params, None, None, "runs/small, step 3")
  for words, changes, sentence in (
    (("int8", "none"), {"method": "full"}, "set method to lora, or start from"),
    (("int8", "none"), {"base_format": "nf4"}, "holds quantized weights already; leave out base_format"),
    (("int8", "int8"), {}, "rounds activations to int8"),
  ):
    made = model_quantization.quantize_model(params, model, parse_scheme(*words, "")).params
    with pytest.raises(UserError, match=sentence):
      frozen_base.prepare_base(loaded._replace(params=made), settings_of(**changes))
  made = model_quantization.quantize_model(params, model, parse_scheme("int4", "none", "")).params
  ready = frozen_base.prepare_base(loaded._replace(params=made), settings_of())
  assert isinstance(ready.params["embedding"]["embedding"], QuantizedArray)
  # The tied table of embeddings is the head too: the loss's gradient passes through it.
  batch = Batch(*(np.ones((2, 3), kind) for kind in (np.int32, np.int32, np.float32, np.int32, np.int32)))
  adapters = lora.initialize_adapters(ready.params, LoraConfig(2), jax.random.key(1))

  def loss(adapters, params):
    tree = lora.apply_adapters(params, adapters, LoraConfig(2))
    return task_loss.batch_loss(model, TEXT, settings_of().optimizer_config, tree, batch).loss

  got = jax.jit(jax.grad(loss))(adapters, ready.params)
  exact = jax.jit(jax.grad(loss))(adapters, quantized_array.dequantize_tree(ready.params))
  for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(exact), strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
