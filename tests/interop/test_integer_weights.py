"""Weights of integers in Hugging Face files: compressed-tensors' own are read, quantized runs are written as theirs."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gen import presets
from gen.config import Data, Model, Run
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.interop import compressed_export, compressed_tensors, description, huggingface, parameters, runs
from gen.models import language_model
from gen.precision import quantized_array
from gen.quantization import model_quantization, quantized_run
from gen.quantization.model_scheme import parse_scheme

# Written and opened by the format's own library (scripts/make_integer_fixtures.py).
FIXTURES = Path(__file__).parent / "integer_fixtures"
LLAMA = Model(
  vocab=262, width=24, depth=2, heads=3, head_width=8, feed_forward=40, context=32, activation="swiglu",
  norm="rmsnorm", positions="rotary", qk_norm=False,
)  # fmt: skip


@pytest.mark.parametrize(
  ("name", "tolerance"),
  [("pack-int4", 1e-5), ("pack-int8", 1e-5), ("int8", 3e-2)],
  ids=lambda value: str(value),
)
def test_files_of_the_library_give_its_logits(name, tolerance):
  model, params = huggingface.load_checkpoint(FIXTURES / name)
  answers = load_file(FIXTURES / name / "answers.safetensors")
  logits = huggingface.forward_pass(model, params, answers["ids"])
  # Activations of the last one are int8 there, and floating-point numbers here, as its note says.
  np.testing.assert_allclose(logits, answers["logits"], rtol=0, atol=tolerance * np.abs(logits).max())
  assert model.notes[0].startswith("14 weights are integers")
  assert any("activations stay" in note for note in model.notes) == (name == "int8")
  assert "quantization_config" not in model.hf


def test_what_was_read_is_written_as_plain_float32(tmp_path):
  model, params = huggingface.load_checkpoint(FIXTURES / "pack-int4")
  huggingface.save_checkpoint(tmp_path, model, params)
  again, tree = huggingface.load_checkpoint(tmp_path)
  assert not again.notes and {tensor.dtype for tensor in again.tensors} == {"F32"}
  name = "model.layers.1.mlp.down_proj.weight"
  kernel = tree["target"]["stack"]["layers"]["feed_forward"]["out"]["kernel"][1]
  np.testing.assert_array_equal(load_file(tmp_path / "model.safetensors")[name], kernel.T)


def quantize(model, words, **others):
  """Returns the quantized tree of random weights."""
  rng = np.random.default_rng(7)
  params = {
    path: rng.normal(size=leaf.shape).astype(np.float32) / 4
    for path, leaf in parameters.flatten_tree(language_model.parameter_shapes(model)).items()
  }
  scheme = parse_scheme(*words, **others)
  return model_quantization.quantize_model(parameters.unflatten_tree(params), model, scheme).params


def make_run(folder, model, words, **others):
  """Saves a quantized run of random weights; returns its tree."""
  made = quantize(model, words, **others)
  run = Run(model=model, data=Data(tokenizer="bytes"), steps=1)
  meta = {"tokenizer": ByteTokenizer().hash}
  quantized_run.save_quantized(folder.parent / "none", folder, run, 3, made, meta, {})
  return made


def unpacked(tensors, base, bits):
  """Returns a product's weights, read bit by bit."""
  if f"{base}.weight_packed" not in tensors:
    levels = tensors[f"{base}.weight"].astype(np.int64)
  else:
    outputs, inputs = tensors[f"{base}.weight_shape"]
    words = tensors[f"{base}.weight_packed"].astype(np.int64) & 0xFFFFFFFF
    places = np.arange(inputs) * bits
    levels = (words[:, places // 32] >> (places % 32)) % 2**bits - 2 ** (bits - 1)
    assert levels.shape == (outputs, inputs)
  scales = tensors[f"{base}.weight_scale"]
  return levels * np.repeat(scales, levels.shape[1] // scales.shape[1], axis=1)


@pytest.mark.parametrize(
  ("words", "form", "bits"),
  [
    (("int4", "none", "group:8"), "pack-quantized", 4),
    (("int8", "int8", ""), "int-quantized", 8),
  ],
)
def test_a_quantized_run_is_written_as_integers_and_read_back(words, form, bits, tmp_path):
  made = make_run(tmp_path / "run", LLAMA, words, head=words[0])
  exported = runs.export_checkpoint(tmp_path / "run", tmp_path / "out")
  assert any(note.startswith("15 products are integers") for note in exported.notes)
  config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
  (group,) = config["config_groups"].values()
  assert (config["quant_method"], config["format"], config["ignore"]) == ("compressed-tensors", form, [])
  assert (group["targets"], group["weights"]["num_bits"]) == (["Linear"], bits)
  assert (group["input_activations"] is not None) == (words[1] == "int8")
  tensors = load_file(tmp_path / "out" / "model.safetensors")
  layers = quantized_array.dequantize_tree(made)["target"]["stack"]["layers"]
  for name, kernel in {
    "self_attn.q_proj": layers["attention"]["query"]["kernel"][1].reshape(24, 24).T,
    "self_attn.o_proj": layers["attention"]["out"]["kernel"][1].reshape(24, 24).T,
    "mlp.down_proj": layers["feed_forward"]["out"]["kernel"][1].T,
  }.items():
    np.testing.assert_allclose(unpacked(tensors, f"model.layers.1.{name}", bits), kernel, rtol=1e-6)
  _, params = huggingface.load_checkpoint(tmp_path / "out")
  for ours, theirs in zip(
    parameters.flatten_tree(params).values(),
    parameters.flatten_tree(quantized_array.dequantize_tree(made)).values(),
    strict=True,
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_kernels_of_another_kind_have_groups_and_those_that_a_form_changes_are_float(tmp_path):
  make_run(tmp_path / "run", LLAMA, ("int4", "none", "group:8"))  # its head has 8 bits
  runs.export_checkpoint(tmp_path / "run", tmp_path / "out")
  config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
  assert [group["targets"] for group in config["config_groups"].values()] == [["Linear"], ["lm_head"]]
  centred = Model(vocab=262, width=24, depth=1, head_width=8, context=32, activation="swiglu")
  make_run(tmp_path / "centred", centred, ("int8", "none", ""))
  exported = runs.export_checkpoint(tmp_path / "centred", tmp_path / "form")
  config = json.loads((tmp_path / "form" / "config.json").read_text())["quantization_config"]
  assert config["ignore"] == ["model.layers.0.self_attn.o_proj", "model.layers.0.mlp.down_proj"]
  assert "attention/out/kernel" in exported.notes[-1]


@pytest.mark.slow
def test_levels_of_a_t5_have_a_byte_each_because_transformers_reads_its_weights_by_name(tmp_path):
  model = dataclasses.replace(
    presets.get_model("t5-v1.1-small"), vocab=262, width=16, depth=1, heads=2, head_width=8, feed_forward=24,
    dropout=0.0,
  )  # fmt: skip
  made = make_run(tmp_path / "run", model, ("int4", "none", "group:8"))
  runs.export_checkpoint(tmp_path / "run", tmp_path / "out")
  config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
  assert [group["format"] for group in config["config_groups"].values()] == ["int-quantized"] * 2
  tensors = load_file(tmp_path / "out" / "model.safetensors")
  base = "decoder.block.0.layer.2.DenseReluDense.wo"
  assert tensors[f"{base}.weight"].dtype == np.int8 and np.abs(tensors[f"{base}.weight"]).max() == 7
  kernel = quantized_array.dequantize_tree(made)["target"]["stack"]["layers"]["feed_forward"]["out"][
    "kernel"
  ][0]
  np.testing.assert_allclose(unpacked(tensors, base, 4), kernel.T, rtol=1e-6)
  _, params = huggingface.load_checkpoint(tmp_path / "out")
  read = params["target"]["stack"]["layers"]["feed_forward"]["out"]["kernel"][0]
  np.testing.assert_allclose(read, kernel, rtol=1e-6)


def test_a_tied_output_is_not_an_integer_product(tmp_path):
  tied = Model(
    vocab=262, width=16, depth=1, head_width=8, context=32, activation="swiglu", norm="rmsnorm", tied=True
  )
  make_run(tmp_path / "run", tied, ("int8", "none", ""))
  runs.export_checkpoint(tmp_path / "run", tmp_path / "out")
  config = json.loads((tmp_path / "out" / "config.json").read_text())
  assert config["tie_word_embeddings"] and config["quantization_config"]["ignore"] == ["lm_head"]
  assert load_file(tmp_path / "out" / "model.safetensors")["model.embed_tokens.weight"].dtype == np.float32


def test_what_the_format_lacks_is_one_sentence():
  described = description.describe_model(LLAMA)
  for words, sentence in (
    (("nf4", "none", ""), "has nf4 levels"),
    (("int8", "none", "affine"), "has zero points"),
    (("int4", "int8", ""), "int8 activations with int4 weights"),
  ):
    with pytest.raises(UserError, match=sentence) as raised:
      compressed_export.compress_products(described, quantize(LLAMA, words), set(), "runs/quantized")
    assert "\n" not in str(raised.value)


def test_files_that_are_not_understood_are_refused_in_one_sentence(tmp_path):
  def changed(name, config=None, tensors=None):
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    shutil.copytree(FIXTURES / name, folder)
    values = json.loads((folder / "config.json").read_text())
    if config:
      config(values["quantization_config"])
    (folder / "config.json").write_text(json.dumps(values))
    arrays = load_file(folder / "model.safetensors")
    if tensors:
      tensors(arrays)
    save_file(arrays, folder / "model.safetensors", {"format": "pt"})
    return folder

  base = "model.layers.0.mlp.up_proj.weight"
  for folder, sentence in (
    (changed("int8", lambda c: c.update(quant_method="gptq")), "of the method 'gptq'"),
    (changed("int8", lambda c: c.update(format="nvfp4-pack-quantized")), "has the format 'nvfp4"),
    (
      changed("int8", lambda c: c["config_groups"]["group_0"]["weights"].update(symmetric=False)),
      "only symmetric",
    ),
    (changed("int8", lambda c: c["config_groups"]["group_0"].pop("weights")), "weights"),
    (changed("pack-int4", None, lambda t: t.pop(f"{base}_packed")), "no integer weight of two axes"),
    (
      changed("pack-int4", None, lambda t: t.update({f"{base}_shape": np.array([24, 99])})),
      "words of 24 x 99",
    ),
    (
      changed("pack-int4", None, lambda t: t.update({f"{base}_scale": np.ones((5, 2), np.float32)})),
      r"\[5, 2\]",
    ),
    (changed("int8", None, lambda t: [t.pop(n) for n in list(t) if n.endswith("_scale")]), "has no"),
  ):
    with pytest.raises(UserError, match=sentence) as raised:
      huggingface.load_checkpoint(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("bits", "inputs"), [(4, 13), (8, 6)])
def test_packed_levels_come_back(bits, inputs):
  top = 2 ** (bits - 1)
  levels = np.random.default_rng(0).integers(-top, top, (5, inputs)).astype(np.int8)
  words = compressed_tensors.pack_words(levels, bits)
  assert words.shape == (5, -(-inputs * bits // 32))
  np.testing.assert_array_equal(compressed_tensors.unpack_words(words.tobytes(), levels.shape, bits), levels)
