"""Adapters of `peft`, recorded by scripts/make_peft_fixtures.py, give its logits here, and gen's are in its layout."""

import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gen.errors import UserError
from gen.finetuning.adapters import lora, lora_files, lora_reading
from gen.finetuning.adapters.lora import LoraConfig
from gen.interop import huggingface
from gen.interop.parameters import flatten_tree, unflatten_tree

ADAPTERS = sorted(path.parent for path in Path(__file__).parent.glob("*/adapter_config.json"))
CHECKPOINTS = Path(__file__).parents[2] / "interop/fixtures"


def checkpoint_of(folder):
  """Returns the model that a fixture adapts, and its parameters, float32."""
  model, params = huggingface.load_checkpoint(CHECKPOINTS / folder.name)
  return model, jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)


def adapted_logits(model, params, given, answers):
  """Returns the logits of the model with adapters, and the trained parameters beside them."""
  whole = unflatten_tree(flatten_tree(params) | flatten_tree(given.whole))
  merged = jax.tree.map(np.asarray, lora.apply_adapters(whole, given.adapters, given.lora))
  targets = answers.get("decoder_input_ids")
  return huggingface.forward_pass(model, merged, answers["input_ids"], decoder_input_ids=targets)


def kept(folder, given, model, params, answers):
  """Keeps adapters of gen for `make_peft_fixtures.py --check`, where GEN_ADAPTERS names a folder."""
  if os.environ.get("GEN_ADAPTERS"):
    output = Path(os.environ["GEN_ADAPTERS"]) / folder
    lora_files.save_adapters(output, model, given.lora, given.adapters, given.whole)
    logits = adapted_logits(model, params, given, answers)
    save_file(answers | {"logits": logits}, output / "answers.safetensors")


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: path.name)
def test_adapters_of_peft_give_its_logits_and_are_saved_again_with_equal_bytes(folder, tmp_path):
  model, params = checkpoint_of(folder)
  given, answers = lora_reading.load_adapters(folder, model), load_file(folder / "answers.safetensors")
  np.testing.assert_allclose(adapted_logits(model, params, given, answers), answers["logits"], atol=1e-4)
  lora_files.save_adapters(tmp_path, model, given.lora, given.adapters, given.whole)
  first, again = (load_file(each / lora_files.TENSORS) for each in (folder, tmp_path))
  if folder.name == "qwen3-lm":  # layers without adapters get zeros
    again = {name: tensor for name, tensor in again.items() if tensor.any()}
  if folder.name != "gpt-neox-lm":  # an alpha of a matrix's own is in its B
    assert {name: tensor.tobytes() for name, tensor in first.items()} == {
      name: tensor.tobytes() for name, tensor in again.items()
    }
  kept(f"{folder.name}@peft", given, model, params, answers)


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: path.name)
def test_adapters_of_gen_are_read_again_as_they_are(folder, tmp_path):
  model, params = checkpoint_of(folder)
  answers = load_file(folder / "answers.safetensors")
  config = LoraConfig(2, 3.0, ("attention", "feed_forward/in"), rank_stabilized=folder.name < "c")
  adapters = lora.initialize_adapters(params, config, jax.random.key(5))
  random = np.random.default_rng(2)
  adapters = jax.tree.map(lambda leaf: np.float32(leaf + 0.2 * random.normal(size=leaf.shape)), adapters)
  whole = {"head": params["head"]} if model.task else {}
  lora_files.save_adapters(tmp_path, model, config, adapters, whole)
  again = lora_reading.load_adapters(tmp_path, model)
  assert again.lora.scale == config.scale
  for before, after in ((adapters, again.adapters), (whole, again.whole)):
    before, after = flatten_tree(before), flatten_tree(after)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[path], after[path]) for path in before)
  kept(f"{folder.name}@gen", again, model, params, answers)


@pytest.fixture
def editable(tmp_path):
  """Returns a copy of adapters, the model that they adapt, and a function that changes their files."""
  folder = tmp_path / "bert-classify"
  shutil.copytree(Path(__file__).parent / "bert-classify", folder)
  (folder / "answers.safetensors").unlink()

  def change(tensors=lambda _: None, **config):
    path = folder / lora_files.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    there = load_file(folder / lora_files.TENSORS)
    tensors(there)
    save_file(there, folder / lora_files.TENSORS)
    return folder

  return change, huggingface.load_checkpoint(CHECKPOINTS / "bert-classify")[0]


@pytest.mark.parametrize(
  ("config", "sentence"),
  [
    ({"peft_type": "IA3"}, "peft_type is 'IA3'; only LORA is supported"),
    ({"use_dora": True}, "use_dora = True is not supported"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights = pissa is not supported"),
    ({"r": "8"}, "adapter_config.json: r holds text where a whole number is expected"),
    ({"lora_alpha": -1}, "lora.alpha is -1.0"),
    ({"alpha_pattern": {"(a+)+$": 1}}, "only names of modules are supported"),
  ],
)
def test_a_config_that_is_not_supported_is_one_sentence(config, sentence, editable):
  change, model = editable
  with pytest.raises(UserError, match=sentence):
    lora_reading.load_adapters(change(**config), model)


QUERY = "base_model.model.bert.encoder.layer.1.attention.self.query.lora_A.weight"


@pytest.mark.parametrize(
  ("edit", "sentence"),
  [
    (lambda tensors: tensors.pop(QUERY), "lacks .*layer.1.attention.self.query.lora_A.weight"),
    (lambda tensors: tensors.update({QUERY: np.zeros((2, 4), np.float32)}), "needs rank x 15"),
    (lambda tensors: tensors.update({QUERY: np.zeros((2, 15), np.int32)}), "is of type I32"),
    (lambda tensors: tensors.update({"other": np.zeros(1, np.float32)}), "other belongs to no matrix"),
    (lambda tensors: tensors.clear(), "holds no adapter of this bert"),
  ],
)
def test_tensors_of_another_model_are_one_sentence(edit, sentence, editable):
  change, model = editable
  with pytest.raises(UserError, match=sentence):
    lora_reading.load_adapters(change(edit), model)
