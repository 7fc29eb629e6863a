"""A quantized run is saved, verified, loaded and refused like any other; values are split together with scales."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from gen.config import Data, Run
from gen.errors import UserError
from gen.generation import loaded_model
from gen.interop import runs
from gen.io import checksums
from gen.models import language_model
from gen.precision.quantized_array import QuantizedArray
from gen.quantization import model_quantization, quantization_report, quantized_run
from gen.quantization.model_scheme import parse_scheme
from gen.training import start_source
from gen.training.checkpointing import checkpoint_folder, quantized_checkpoints
from gen.training.checkpointing.checkpoints import Checkpoints

FAMILIES = ("decoder", "encoder_decoder", "encoder", "distances", "gru", "lstm")


def saved(tmp_path, model, params, scheme):
  """Quantizes and saves; returns the folder and the tree."""
  objective = {"encoder": "masked", "encoder_decoder": "span_corruption"}.get(model.family, "causal")
  run = Run(
    model=dataclasses.replace(model, vocab=300), data=Data(tokenizer="bytes", objective=objective), steps=1
  )
  made = model_quantization.quantize_model(params, model, scheme)
  words = quantization_report.scheme_words(scheme)
  run = quantized_run.with_cache(dataclasses.replace(run, model=model), scheme.cache)
  tokenizer = loaded_model.ByteTokenizer().hash
  quantized_run.save_quantized(
    tmp_path / "source", tmp_path / "out", run, 7, made.params, {"tokenizer": tokenizer}, words
  )
  return tmp_path / "out", made.params


@pytest.mark.parametrize(
  ("family", "words"),
  [
    ("decoder", "int8 none affine"),
    ("encoder_decoder", "int4 none group:4"),
    ("encoder", "int8 int8 tensor"),
    ("gru", "nf4 none "),
  ],
)
def test_what_is_loaded_is_what_was_saved_bit_for_bit(family, words, toy, tmp_path):
  model, _, params = toy(family)
  weights, activations, rest = words.split(" ")
  folder, tree = saved(
    tmp_path, model, params, parse_scheme(weights, activations, rest, vectors="bfloat16", cache="int8")
  )
  loaded = loaded_model.load_model(folder)
  assert loaded.model.cache_format == "int8" and loaded.where.endswith("step 7")
  assert jax.tree.structure(loaded.params) == jax.tree.structure(tree)
  for ours, theirs in zip(jax.tree.leaves(loaded.params), jax.tree.leaves(tree), strict=True):
    assert ours.dtype == theirs.dtype and np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_training_on_exporting_and_a_second_run_in_the_folder_are_refused_in_one_sentence(toy, tmp_path):
  model, _, params = toy("decoder")
  folder, _ = saved(tmp_path, model, params, parse_scheme("int8", "none", ""))
  meta = checkpoint_folder.read_record(folder / "checkpoints", 7)["meta"]
  for call, sentence in (
    (
      lambda: quantized_checkpoints.require_trainable(meta, meta["tokenizer"], folder),
      "cannot be trained further; take",
    ),
    (
      lambda: start_source.read_parameters(start_source.find_source(str(folder))),
      "cannot be trained further",
    ),
    (
      lambda: runs.export_checkpoint(folder, tmp_path / "hf"),
      "cannot be written as integers: gpt2 has no nn.Linear",
    ),
    (lambda: quantized_run.check_output(folder), "already contains a run"),
  ):
    with pytest.raises(UserError, match=sentence) as raised:
      call()
    assert "\n" not in str(raised.value)


def test_damaged_values_and_another_version_are_refused(toy, tmp_path):
  model, _, params = toy("lstm")
  folder, _ = saved(tmp_path, model, params, parse_scheme("int8", "none", ""))
  step = checkpoint_folder.path_of(folder / "checkpoints", 7)
  record = json.loads((step / "meta.json").read_text())
  entry = record["meta"]["quantization"]
  for change, sentence in (
    ({"format": 9}, "format version 9"),
    ({"arrays": {"a/b": {}}}, "names a/b, which is no parameter"),
    ({"arrays": {"embedding/embedding": {"format": "int8"}}}, "has no 'groups'"),
  ):
    record["meta"]["quantization"] = entry | change
    (step / "meta.json").write_text(json.dumps(record))
    checksums.seal_folder(step)
    with pytest.raises(UserError, match=sentence):
      loaded_model.load_model(folder)
  data = max(
    (path for path in (step / "state").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
  )
  content = bytearray(data.read_bytes())
  content[len(content) // 2] ^= 255
  data.write_bytes(content)
  with pytest.raises(UserError, match="damaged"):
    loaded_model.load_model(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_scales_have_the_axes_of_their_kernel(family, toy):
  model, _, params = toy(family)
  made = model_quantization.quantize_model(params, model, parse_scheme("int4", "none", "group:4"))
  names = language_model.logical_axes(model)
  axes = quantized_checkpoints.quantized_axes(names, made.params)
  arrays = jax.tree.leaves(made.params, is_leaf=lambda leaf: isinstance(leaf, QuantizedArray))
  specs = jax.tree.leaves(axes, is_leaf=lambda leaf: isinstance(leaf, (QuantizedArray, PartitionSpec)))
  for array, spec in zip(arrays, specs, strict=True):
    if isinstance(array, QuantizedArray):
      assert len(spec.values) == array.values.ndim and len(spec.scales) == array.scales.ndim
      assert spec.values[-2] == spec.scales[-2]
  if family == "decoder":
    attention = axes["target"]["stack"]["layers"]["attention"]
    assert tuple(attention["query"]["kernel"].values) == ("layers", "heads", "embed")
    assert tuple(attention["out"]["kernel"].scales) == ("layers", "embed", "heads")


def test_the_record_of_a_step_lists_every_array(toy, tmp_path):
  model, _, params = toy("decoder")
  folder, _ = saved(tmp_path, model, params, parse_scheme("int8", "none", ""))
  with Checkpoints(folder / "checkpoints") as checkpoints:
    assert checkpoints.steps() == [7]
  tree = checkpoint_folder.read_record(folder / "checkpoints", 7)["tree"]
  assert tree["params/embedding/embedding/values"] == {"shape": [31, 12], "dtype": "int8"}
  assert tree["params/embedding/embedding/scales"] == {"shape": [31, 1], "dtype": "float32"}
