"""Heads for tasks are written as classes of transformers and read again, with their labels."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.config import Model, Run
from gen.config.heads import HeadConfig, published_head
from gen.errors import UserError
from gen.generation import loaded_model
from gen.interop import description, huggingface, runs
from gen.interop.parameters import flatten_tree
from gen.models import heads, language_model
from gen.training.run_folders import headed_checkpoint
from gen.training.run_folders.headed_checkpoint import HeadedParameters

IDS = np.array([[3, 7, 10, 9], [2, 6, 8, 5]])
LABELS = ("none", "größer", "B-x")
BERT = Model(
  family="encoder", vocab=13, width=12, depth=2, heads=3, head_width=4, feed_forward=7, context=9,
  positions="learned", token_types=2, norm_placement="post", norm_epsilon=1e-12, embedding_norm=True,
  activation="gelu", bias=True, norm_bias=True, tied=True, head_transform=True, head_bias=True,
)  # fmt: skip
ROBERTA = dataclasses.replace(BERT, position_offset=2, token_types=1, head_activation="gelu")
MODERNBERT = Model(
  family="encoder", vocab=13, width=12, depth=3, heads=3, head_width=4, feed_forward=7, context=9, window=2,
  global_every=2, window_rotary_base=70.0, activation="geglu_exact", first_norm=False, embedding_norm=True, tied=True,
  head_transform=True, head_activation="gelu", head_bias=True,
)  # fmt: skip
DECODER = Model(vocab=13, width=12, depth=2, head_width=6, context=9, feed_forward=7)  # as configs/decoder.py
LLAMA = dataclasses.replace(DECODER, norm="rmsnorm", activation="swiglu")
CLASSES = [
  (BERT, "classify", "BertForSequenceClassification"),
  (BERT, "tag", "BertForTokenClassification"),
  (ROBERTA, "classify", "RobertaForSequenceClassification"),
  (ROBERTA, "span", "RobertaForQuestionAnswering"),
  (MODERNBERT, "classify", "ModernBertForSequenceClassification"),
  (MODERNBERT, "span", "ModernBertForQuestionAnswering"),
  (DECODER, "classify", "Starcoder2ForSequenceClassification"),
  (LLAMA, "tag", "LlamaForTokenClassification"),
]


@pytest.mark.parametrize(("model", "kind", "name"), CLASSES, ids=lambda value: str(value)[:30])
def test_a_model_with_a_head_is_written_as_the_class_that_computes_the_same(model, kind, name, tmp_path):
  head = published_head(model, kind, () if kind == "span" else LABELS, dropout=0.25)
  random = np.random.default_rng(3)
  params = jax.tree.map(
    lambda leaf: random.normal(size=leaf.shape).astype(np.float32), heads.headed_parameter_shapes(model, head)
  )
  if not model.first_norm:  # the first layer's norm is in no file
    params["target"]["stack"]["layers"]["attention_norm"]["scale"][0] = 1.0
  huggingface.save_checkpoint(tmp_path, model, params, head)
  described, again = huggingface.load_checkpoint(tmp_path)
  assert described.hf["architectures"] == [name]
  # Spans have no dropout in any class, and classifiers of a decoder's texts none either.
  assert described.task == head
  flat, flat_again = flatten_tree(params), flatten_tree(again)
  assert all(np.array_equal(flat[path], flat_again[path]) for path in flat)
  if flat.keys() != flat_again.keys():  # an equivalent form, with biases of 0
    module = heads.build_headed_model(model, head)
    expected = jax.jit(module.apply)({"params": params}, jnp.asarray(IDS))
    np.testing.assert_allclose(huggingface.forward_pass(described, again, IDS), expected, atol=1e-4)


def test_a_run_s_head_is_exported_with_its_labels(tmp_path):
  model = dataclasses.replace(BERT, vocab=300)  # of bytes
  head = published_head(model, "classify", LABELS)
  shapes = language_model.parameter_shapes(model)
  before = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.3, jnp.float32), shapes)
  params = heads.attach_head(before, model, head, jax.random.key(2))
  run = Run(name="tuned", model=model, steps=7)
  run.data.tokenizer = "bytes"
  headed_checkpoint.save_headed(tmp_path / "run", run, 7, HeadedParameters(model, head, params), before, {})
  (tmp_path / "run/chat_template.jinja").write_text("{{ messages }}")
  runs.export_checkpoint(tmp_path / "run", tmp_path / "out")
  assert (tmp_path / "out/chat_template.jinja").read_text() == "{{ messages }}"
  described, again = huggingface.load_checkpoint(tmp_path / "out")
  config = json.loads((tmp_path / "out/config.json").read_text())
  assert config["architectures"] == ["BertForSequenceClassification"]
  assert config["id2label"] == {"0": "none", "1": "größer", "2": "B-x"}
  assert config["label2id"]["B-x"] == 2 and described.task == head
  flat, flat_again = flatten_tree(params), flatten_tree(again)
  assert flat.keys() == flat_again.keys()
  assert all(np.array_equal(flat[path], flat_again[path]) for path in flat)


def test_a_head_that_no_class_has_is_one_sentence():
  head = HeadConfig("classify", LABELS, "mean")
  with pytest.raises(UserError, match="no class of the Hugging Face format has a head of kind classify"):
    description.describe_model(BERT, head=head)


def test_labels_are_numbered_where_a_config_names_none(checkpoint):
  folder = checkpoint("bert-classify").config(id2label=None, label2id=None).folder
  assert huggingface.load_checkpoint(folder)[0].task.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
  ("name", "changes", "sentence"),
  [
    ("bert-classify", {"id2label": {"0": "a", "1": "b"}}, "id2label names 2 outputs, but the head has 3"),
    ("bert-classify", {"id2label": {"0": "a", "1": "b", "x": "c"}}, "it must name 0 to 2"),
    ("bert-classify", {"id2label": {"0": "a", "1": "a", "2": "c"}}, "head.labels names 'a' twice"),
    ("bert-classify", {"id2label": {"0": "a", "1": 2, "2": "c"}}, "id2label '1' holds a whole number"),
    ("bert-classify", {"id2label": ["a"]}, "id2label holds a list"),
    ("bert-classify", {"problem_type": "ranking"}, "problem_type 'ranking' is not one of single_label"),
    ("bert-classify", {"classifier_dropout": "much"}, "dropout of the classifier holds text"),
    ("bert-tag", {"architectures": ["BertForQuestionAnswering"]}, "qa_outputs.weight is missing"),
  ],
)
def test_labels_that_do_not_fit_are_one_sentence(name, changes, sentence, checkpoint):
  with pytest.raises(UserError, match=sentence):
    huggingface.load_checkpoint(checkpoint(name).config(**changes).folder)


def test_a_classifier_is_no_run_and_no_language_model(checkpoint, tmp_path):
  folder = checkpoint("gpt2-classify").folder
  with pytest.raises(UserError, match="holds a GPT2ForSequenceClassification, whose head is for a task"):
    runs.import_checkpoint(folder, tmp_path / "run")
  (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
  loaded = loaded_model.load_model(folder)
  assert "head" not in loaded.params and not loaded.reading.head


def test_the_end_of_a_text_is_found_as_transformers_finds_it(checkpoint):
  model, params = huggingface.load_checkpoint(checkpoint("bart-classify").folder)
  with pytest.raises(UserError, match="has no eos_token_id 2"):
    huggingface.forward_pass(model, params, [[3, 4, 2], [5, 6, 7]])
