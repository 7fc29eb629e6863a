"""What `gen` trains by default is written as an architecture that computes the same."""

import dataclasses
import json

import numpy as np
import pytest

from configs import chinchilla, decoder
from gen import presets
from gen.config import Model
from gen.errors import UserError
from gen.interop import description, equivalents, huggingface, parameters
from gen.models import language_model

IDS = np.array([[3, 7, 1, 9, 12], [2, 2, 8, 0, 4]])
SMALL = {"vocab": 23, "depth": 2, "context": 11}
SWEEP = dataclasses.replace(chinchilla.get_config().model, **SMALL, width=30, feed_forward=14)
RUN = dataclasses.replace(decoder.get_config().model, **SMALL, width=18, head_width=6, feed_forward=25)


def random_parameters(model):
  rng = np.random.default_rng(4)
  shapes = parameters.flatten_tree(language_model.parameter_shapes(model))
  return parameters.unflatten_tree(
    {path: (0.4 * rng.normal(size=leaf.shape) + 0.2).astype(np.float32) for path, leaf in shapes.items()}
  )


MODELS = [
  (SWEEP, "ApertusForCausalLM"),
  (RUN, "Starcoder2ForCausalLM"),
  (dataclasses.replace(RUN, activation="gelu", parallel=True), "GPTNeoXForCausalLM"),
  (dataclasses.replace(RUN, rotary_width=2), "GPTNeoXForCausalLM"),
  (dataclasses.replace(RUN, activation="swiglu"), "LlamaForCausalLM"),
  (dataclasses.replace(SWEEP, activation="swiglu", key_value_heads=1), "Qwen3ForCausalLM"),
  (dataclasses.replace(RUN, norm="rmsnorm", activation="swiglu", window=2, tied=True), "MistralForCausalLM"),
  (dataclasses.replace(RUN, norm="rmsnorm", activation="geglu", qkv_bias=True), "Qwen2ForCausalLM"),
]


@pytest.mark.parametrize(("model", "kind"), MODELS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_trained_decoder_is_written_as_a_checkpoint_with_the_same_logits(model, kind, tmp_path):
  params = random_parameters(model)
  huggingface.save_checkpoint(tmp_path, model, params)
  hf = json.loads((tmp_path / "config.json").read_text())
  assert hf["architectures"] == [kind]
  loaded, found = huggingface.load_checkpoint(tmp_path)
  own = huggingface.forward_pass(model, params, IDS)  # with the parameters as they were trained
  np.testing.assert_allclose(huggingface.forward_pass(loaded, found, IDS), own, atol=1e-4, rtol=0)


def test_an_equivalent_form_says_what_it_changes():
  exact = description.describe_model(dataclasses.replace(RUN, norm_bias=True))
  assert exact.notes == ()
  assert "written as zeros" in description.describe_model(RUN).notes[0]
  assert "RMSNorm" in description.describe_model(SWEEP).notes[0]


@pytest.mark.parametrize(
  "changes",
  [{"tied": True}, {"embedding_norm": True}, {"positions": "sinusoidal"}, {"final_norm": False}, {"norm_bias": True},
   {"norm_placement": "post"}],
)  # fmt: skip
def test_a_stream_that_something_else_reads_is_not_centered(changes):
  model = dataclasses.replace(SWEEP, **changes)
  assert all(other.norm == "layernorm" for other, _ in equivalents.find_equivalents(model))
  with pytest.raises(UserError, match="no Hugging Face architecture matches this model; the nearest"):
    description.describe_model(model)


def test_the_model_without_change_keeps_its_parameters():
  flat = {"embedding/embedding": np.ones((3, 2), np.float32)}
  kept = equivalents.convert_parameters(flat, Model(), Model())
  np.testing.assert_array_equal(kept["embedding/embedding"], flat["embedding/embedding"])


PUBLISHED = {
  "llama-3.1-8b": "LlamaForCausalLM",
  "mistral-7b": "MistralForCausalLM",
  "qwen2.5-0.5b": "Qwen2ForCausalLM",
  "qwen3-0.6b": "Qwen3ForCausalLM",
  "gemma-2b": "GemmaForCausalLM",
  "olmo2-1b": "Olmo2ForCausalLM",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_of_a_released_model_is_written_as_its_own_class(name):
  described = description.describe_model(presets.get_model(name))
  assert (described.hf["architectures"], described.notes) == ([PUBLISHED[name]], ())
