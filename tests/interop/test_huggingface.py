import json
import subprocess
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gen import presets
from gen.config import Model
from gen.errors import UserError
from gen.interop import huggingface, parameters
from gen.models import language_model

IDS = np.array([[3, 7, 1, 9], [2, 2, 8, 0]])
WORD = "bert.embeddings.word_embeddings.weight"


def same_bytes(one, other):
  return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def saved_again(folder, file="model.safetensors"):
  """Returns the tensors of a checkpoint, and what they are once loaded and saved."""
  huggingface.save_checkpoint(folder / "again", *huggingface.load_checkpoint(folder))
  return load_file(folder / file), load_file(folder / "again" / file)


def assert_equal_tensors(before, after):
  assert before.keys() == after.keys()
  assert all(same_bytes(before[name], after[name]) for name in before)


def test_a_model_is_its_config_and_a_tree_that_its_module_takes(checkpoint):
  model, params = huggingface.load_checkpoint(checkpoint("gpt2-lm").folder)
  assert isinstance(model.config, Model) and model.config.vocab == 29 and model.head
  logits_btv = language_model.build_model(model.config).apply({"params": params}, IDS)
  np.testing.assert_allclose(logits_btv, huggingface.forward_pass(model, params, IDS), atol=1e-5)


def test_names_of_old_files_buffers_and_tied_duplicates_are_kept(checkpoint):
  def change(tensors):
    for name in [name for name in tensors if "LayerNorm" in name]:
      old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
      tensors[old] = tensors.pop(name)
    tensors["bert.embeddings.position_ids"] = np.arange(11)[None]
    tensors["cls.predictions.decoder.weight"] = tensors[WORD].copy()
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].copy()
    tensors["cls.seq_relationship.weight"] = np.ones((2, 15), np.float16)

  plain = checkpoint("bert-mlm")
  expected = huggingface.forward_pass(*huggingface.load_checkpoint(plain.folder), IDS)
  plain.tensors(change)
  assert_equal_tensors(*saved_again(plain.folder))
  np.testing.assert_array_equal(
    huggingface.forward_pass(*huggingface.load_checkpoint(plain.folder), IDS), expected
  )


def test_older_spellings_of_rotary_positions_mean_the_same(checkpoint):
  for name, older in (
    ("llama", {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.5}}),
    ("gpt-neox", {"rotary_emb_base": 500, "rotary_pct": 0.25}),
  ):
    plain = checkpoint(name)
    config = huggingface.load_checkpoint(plain.folder)[0].config
    plain.config(rope_parameters=None, **older)
    assert huggingface.load_checkpoint(plain.folder)[0].config == config


def test_layers_of_unequal_types_are_float32_here_and_each_its_own_again_when_saved(checkpoint):
  def change(tensors):
    for number, name in enumerate(sorted(tensors)):
      tensors[name] = tensors[name].astype((np.float32, np.float16, ml_dtypes.bfloat16)[number % 3])

  mixed = checkpoint("bloom").tensors(change)
  before, after = saved_again(mixed.folder)
  assert {str(array.dtype) for array in before.values()} == {"float32", "float16", "bfloat16"}
  assert_equal_tensors(before, after)


def test_an_embedding_found_only_under_its_twins_name_is_read(checkpoint):
  plain = checkpoint("gpt2-lm")
  model, params = huggingface.load_checkpoint(plain.folder)
  single = plain.folder.parent / "single"
  huggingface.save_checkpoint(single, model, params)
  tensors = {}
  for path in single.glob("model-*.safetensors"):
    tensors |= load_file(path)
    path.unlink()
  (single / "model.safetensors.index.json").unlink()
  tensors["lm_head.weight"] = tensors.pop("transformer.wte.weight")
  save_file(tensors, single / "model.safetensors")
  other, found = huggingface.load_checkpoint(single)
  assert other.config.tied
  np.testing.assert_array_equal(found["embedding"]["embedding"], params["embedding"]["embedding"])


def test_trained_parameters_of_another_type_are_saved_in_it(checkpoint):
  folder = checkpoint("bart-lm").folder
  model, params = huggingface.load_checkpoint(folder)
  assert params["embedding"]["embedding"].dtype == np.float16
  wide = jax.tree.map(lambda leaf: leaf.astype(np.float32) + 0.25, params)
  huggingface.save_checkpoint(folder / "again", model, wide)
  before, after = load_file(folder / "model.safetensors"), load_file(folder / "again" / "model.safetensors")
  for name, array in before.items():
    np.testing.assert_array_equal(after[name], array.astype(np.float32) + 0.25)


def test_saving_one_file_over_several_leaves_no_index_that_names_the_old_ones(checkpoint):
  folder = checkpoint("gpt2-lm").folder
  model, params = huggingface.load_checkpoint(checkpoint("bert").folder)
  huggingface.save_checkpoint(folder, model, params)
  assert not (folder / "model.safetensors.index.json").exists()
  assert huggingface.load_checkpoint(folder)[0].architecture == "bert"


def test_left_padding_changes_nothing_for_bloom_and_no_logit_sees_the_future(checkpoint):
  model, params = huggingface.load_checkpoint(checkpoint("bloom").folder)
  plain = huggingface.forward_pass(model, params, IDS)
  padded = np.concatenate([np.full((2, 3), 5), IDS], axis=1)
  mask = np.repeat([[0, 0, 0, 1, 1, 1, 1]], 2, axis=0)
  np.testing.assert_allclose(huggingface.forward_pass(model, params, padded, mask)[:, 3:], plain, atol=1e-4)
  changed = IDS.copy()
  changed[:, -1] = 4
  np.testing.assert_array_equal(huggingface.forward_pass(model, params, changed)[:, :-1], plain[:, :-1])


@pytest.mark.parametrize(
  ("given", "sentence"),
  [
    ({"input_ids": IDS + 30}, "input_ids holds 30 to 39; it must be 0 to 30"),
    ({"input_ids": IDS[0]}, r"input_ids is int64 \[4\]; it must be integers \[batch, length\]"),
    ({"input_ids": IDS, "attention_mask": IDS[:, :2]}, r"attention_mask has the shape \[2, 2\]"),
    ({"input_ids": IDS, "token_type_ids": IDS}, "token_type_ids holds 0 to 9; it must be 0 to 2"),
    ({"input_ids": IDS, "decoder_input_ids": IDS}, "this bert has no decoder"),
    ({"input_ids": np.zeros((1, 12), int)}, "has 12 positions, but the model has only 11"),
  ],
)
def test_inputs_that_the_model_cannot_read_are_refused(checkpoint, given, sentence):
  model, params = huggingface.load_checkpoint(checkpoint("bert").folder)
  with pytest.raises(UserError, match=sentence):
    huggingface.forward_pass(model, params, **given)


CONFIG_MISTAKES = [
  (
    "bert",
    {"model_type": "falcon"},
    "model_type 'falcon' is not supported; supported are bert, roberta, .*bart",
  ),
  (
    "bert",
    {"architectures": ["BertForMultipleChoice"]},
    "class BertForMultipleChoice of bert is not supported",
  ),
  ("bert", {"hidden_act": "silu"}, "hidden_act 'silu' is not one of gelu"),
  ("bert", {"is_decoder": True}, "is_decoder = True is not supported, only False"),
  (
    "bert",
    {"position_embedding_type": "relative_key"},
    "position_embedding_type = 'relative_key' is not supported",
  ),
  ("bert", {"num_attention_heads": 4}, "hidden_size 15 is not a multiple of num_attention_heads 4"),
  ("bert", {"hidden_size": "wide"}, "hidden_size = 'wide' is not supported"),
  (
    "bert",
    {"vocab_size": 32},
    r"word_embeddings.weight has the shape \[31, 15\], but config.json gives \[32, 15\]",
  ),
  (
    "gpt2",
    {"add_cross_attention": True},
    "add_cross_attention = True is not supported",
  ),
  ("gpt2-lm", {"n_layer": 3}, "the tensor transformer.h.2.ln_1.weight is missing"),
  ("gpt2-lm", {"n_layer": 1}, "unexpected tensor transformer.h.1."),
  ("gpt2-lm", {"tie_word_embeddings": False}, "the tensor lm_head.weight is missing"),
  ("bloom", {"apply_residual_connection_post_layernorm": True}, "post_layernorm = True is not supported"),
  ("t5", {"feed_forward_proj": "gated-relu"}, "feed_forward_proj 'gated-relu' is not one of relu"),
  ("t5", {"relative_attention_max_distance": 4}, "leave no buckets for large distances"),
  ("bart", {"normalize_before": True}, "normalize_before = True is not supported"),
  (
    "llama",
    {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}},
    "rope_type 'yarn' is not supported; known are",
  ),
  (
    "llama",
    {"rope_parameters": None, "rope_scaling": {"type": "linear"}},
    "rope parameter factor must be a positive",
  ),
  (
    "llama",
    {"rope_parameters": {"full_attention": {}}},
    "rope parameters by kind of layer are not supported",
  ),
  ("llama", {"rope_theta": -1.0, "rope_parameters": None}, "rope_theta = -1.0 is not supported"),
  ("llama", {"partial_rotary_factor": 0.4}, "partial_rotary_factor must be 1 in this architecture"),
  ("llama", {"num_key_value_heads": 2}, "num_attention_heads 3 is not a multiple of num_key_value_heads 2"),
  ("llama-lm", {"mlp_bias": False}, "attention_bias and mlp_bias must be equal"),
  ("llama-lm", {"hidden_act": "gelu"}, "hidden_act 'gelu' is not one of silu"),
  ("llama-3-lm", {"tie_word_embeddings": False}, "the tensor lm_head.weight is missing"),
  ("mistral-lm", {"sliding_window": 2.5}, "sliding_window must be a whole number, not 2.5"),
  (
    "qwen2",
    {"layer_types": ["full_attention", "sliding_attention"]},
    "alternate between local and full attention",
  ),
  ("qwen2", {"max_window_layers": 1, "layer_types": None}, "alternate between local and full attention"),
  ("modernbert", {"mlp_bias": True}, "attention_bias, mlp_bias and classifier_bias must be equal"),
  ("modernbert", {"hidden_activation": "silu"}, "hidden_activation = 'silu' is not supported, only 'gelu'"),
  ("modernbert", {"layer_types": ["full_attention"] * 3}, "layer_types must name one of full_attention"),
  ("modernbert", {"layer_types": [[]] * 4}, "layer_types must name one of full_attention"),
  (
    "modernbert",
    {"layer_types": ["sliding_attention", "full_attention"] * 2},
    "only layers 0, n, 2 n ... of layer_types may be full_attention",
  ),
  ("modernbert-mlm", {"local_attention": 1}, "local_attention is 1; it must be at least 2"),
  ("modernbert-mlm", {"rope_parameters": {"full_attention": [3]}}, "the parameters of each kind of layer"),
  (
    "modernbert-mlm",
    {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
    "rope_parameters of ModernBERT are supported without scaling alone",
  ),
  ("modernbert-classify", {"classifier_pooling": "max"}, "classifier_pooling 'max' is not one of cls, mean"),
  ("qwen3-lm", {"attention_bias": True}, "attention_bias = True is not supported, only False"),
  ("gemma", {"model_type": "gemma2"}, "'gemma2' is not supported, because its layers alternate"),
  ("apertus-lm", {"hidden_act": "xielu"}, "hidden_act 'xielu' is not one of gelu"),
  ("gpt-neox", {"attention_bias": False}, "attention_bias = False is not supported, only True"),
  (
    "gpt-neox",
    {"rope_parameters": {"partial_rotary_factor": 0.4}},
    "rotary positions would turn 3 of a head's 8 dimensions",
  ),
]


@pytest.mark.parametrize(("name", "changes", "sentence"), CONFIG_MISTAKES)
def test_a_config_that_is_not_supported_is_refused_in_one_sentence(checkpoint, name, changes, sentence):
  with pytest.raises(UserError, match=sentence) as caught:
    huggingface.load_checkpoint(checkpoint(name).config(**changes).folder)
  assert "\n" not in str(caught.value)


TENSOR_MISTAKES = [
  (lambda tensors: tensors.pop("pooler.dense.bias"), "the tensor pooler.dense.bias is missing"),
  (lambda tensors: tensors.update(extra=np.zeros(3, np.float32)), "unexpected tensor extra"),
  (
    lambda tensors: tensors.update({"pooler.dense.bias": np.zeros(7, np.float32)}),
    r"pooler.dense.bias has the shape \[7\], but config.json gives \[15\]",
  ),
  (lambda tensors: tensors.update({"pooler.dense.bias": np.zeros(15)}), "pooler.dense.bias is of type F64"),
]


@pytest.mark.parametrize(("change", "sentence"), TENSOR_MISTAKES)
def test_a_tensor_that_should_be_otherwise_is_named(checkpoint, change, sentence):
  with pytest.raises(UserError, match=sentence):
    huggingface.load_checkpoint(checkpoint("bert").tensors(change).folder)


def test_embeddings_of_encoder_and_decoder_that_differ_are_refused(checkpoint):
  def change(tensors):
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"] + 1

  with pytest.raises(UserError, match=r"encoder.embed_tokens.weight differs from shared.weight"):
    huggingface.load_checkpoint(checkpoint("bart").tensors(change).folder)


def test_files_that_are_missing_or_damaged_are_named(checkpoint, tmp_path):
  with pytest.raises(UserError, match="nowhere is not a folder"):
    huggingface.load_checkpoint(tmp_path / "nowhere")
  bert = checkpoint("bert").folder
  whole = (bert / "model.safetensors").read_bytes()
  (bert / "model.safetensors").write_bytes(whole[:-8])
  with pytest.raises(UserError, match=r"model.safetensors is damaged: the bytes of .* are incomplete"):
    huggingface.load_checkpoint(bert)
  (bert / "model.safetensors").write_bytes(whole[:8] + b"?" + whole[9:])
  with pytest.raises(UserError, match="is damaged: its header cannot be read"):
    huggingface.load_checkpoint(bert)
  (bert / "model.safetensors").write_bytes(b"\xff" * 20)
  with pytest.raises(UserError, match="its header does not fit"):
    huggingface.load_checkpoint(bert)
  (bert / "model.safetensors").unlink()
  (bert / "pytorch_model.bin").write_bytes(b"x")
  with pytest.raises(
    UserError, match=r"has only pytorch_model.bin, a pickle, .*; save the model as safetensors"
  ):
    huggingface.load_checkpoint(bert)
  shards = checkpoint("gpt2-lm").folder
  missing = next(shards.glob("model-00002*"))
  missing.unlink()
  with pytest.raises(UserError, match=f"lacks the file {missing.name}, which its index names"):
    huggingface.load_checkpoint(shards)
  bare = checkpoint("bloom").folder
  (bare / "config.json").unlink()
  with pytest.raises(UserError, match=r"has no config.json"):
    huggingface.load_checkpoint(bare)


def test_parameters_that_are_not_the_models_are_refused(checkpoint, tmp_path):
  model, params = huggingface.load_checkpoint(checkpoint("bert").folder)
  with pytest.raises(UserError, match="the parameter pool/bias is missing"):
    huggingface.save_checkpoint(
      tmp_path / "x", model, params | {"pool": {"kernel": params["pool"]["kernel"]}}
    )
  with pytest.raises(UserError, match=r"pool/bias has the shape \[3\]; the model's is \[15\]"):
    huggingface.save_checkpoint(
      tmp_path / "x", model, params | {"pool": params["pool"] | {"bias": np.zeros(3, np.float32)}}
    )


SMALL = {"vocab": 21, "width": 12, "depth": 2, "head_width": 4, "heads": 3, "feed_forward": 9, "context": 8}


@pytest.mark.parametrize(
  ("preset", "kind"),
  [
    ("gpt2", "GPT2LMHeadModel"),
    ("bloom-560m", "BloomForCausalLM"),
    ("bert-base", "BertModel"),
    ("bert-base-mlm", "BertForMaskedLM"),
    ("roberta-base-mlm", "RobertaForMaskedLM"),
    ("t5-small", "T5ForConditionalGeneration"),
    ("t5-v1.1-small", "T5ForConditionalGeneration"),
    ("bart-base", "BartForConditionalGeneration"),
  ],
)
def test_a_model_of_gen_is_written_as_the_architecture_that_means_the_same(preset, kind, tmp_path):
  model = presets.get_model(preset)
  for name, value in SMALL.items():
    setattr(model, name, value)
  if preset.startswith("bloom"):
    model.feed_forward = 48
  if model.logits_scale != 1:
    model.logits_scale = model.width**-0.5
  rng = np.random.default_rng(0)
  flat = {
    path: (0.3 * rng.normal(size=leaf.shape)).astype(np.float32)
    for path, leaf in parameters.flatten_tree(language_model.parameter_shapes(model)).items()
  }
  params = parameters.unflatten_tree(flat)
  huggingface.save_checkpoint(tmp_path, model, params)
  assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [kind]
  loaded, found = huggingface.load_checkpoint(tmp_path)
  assert parameters.flatten_tree(found).keys() == flat.keys()
  assert all(same_bytes(array, flat[path]) for path, array in parameters.flatten_tree(found).items())
  ids_bt = np.where(IDS == 1, 2, IDS)  # RoBERTa's positions pass over its padding, which is 1
  given = {"inputs_bt": ids_bt} | ({"source_bs": ids_bt} if model.family == "encoder_decoder" else {})
  method = "__call__" if loaded.head else "states"
  own = language_model.build_model(model).apply({"params": params}, **given, method=method)
  second = {"decoder_input_ids": ids_bt} if model.family == "encoder_decoder" else {}
  theirs = huggingface.forward_pass(loaded, found, ids_bt, **second)
  np.testing.assert_allclose(theirs, own, atol=1e-4, rtol=0)


def test_a_model_that_no_architecture_means_is_refused_with_what_is_otherwise(tmp_path):
  model = presets.get_model("gpt2")
  model.activation = "swiglu"
  with pytest.raises(UserError, match=r"no Hugging Face architecture matches this model; the nearest"):
    huggingface.save_checkpoint(tmp_path, model, {})


def test_a_checkpoint_is_read_and_written_in_little_more_memory_than_it_takes(tmp_path):
  rows, width = 60_000, 256
  model = Model(vocab=rows, width=width, depth=1, head_width=64, context=8, positions="learned", tied=True,
                bias=True, norm_bias=True, feed_forward=64)  # fmt: skip
  flat = {
    path: np.full(leaf.shape, 0.5, np.float32)
    for path, leaf in parameters.flatten_tree(language_model.parameter_shapes(model)).items()
  }
  huggingface.save_checkpoint(tmp_path, model, parameters.unflatten_tree(flat))
  code = f"""
import resource
from gen.interop import huggingface
from gen.models import language_model
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
language_model.parameter_shapes(huggingface.Model(vocab=9, width=8, depth=1, head_width=4))
before = peak()
huggingface.save_checkpoint({str(tmp_path / "again")!r}, *huggingface.load_checkpoint({str(tmp_path)!r}))
print(peak() - before)
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  size = (tmp_path / "model.safetensors").stat().st_size
  assert size > 60e6
  assert int(done.stdout) < 1.3 * size + 60e6
  assert (tmp_path / "again" / "model.safetensors").read_bytes() == Path(
    tmp_path / "model.safetensors"
  ).read_bytes()
