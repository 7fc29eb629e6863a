"""The page of families says what the code gives, and its figure is drawn from the code."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from gen import presets

ROOT = Path(__file__).parents[2]


def script(name):
  spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope="module")
def drawing():
  sys.path.insert(0, str(ROOT / "scripts"))  # as for a script that is run
  yield script("draw_families")
  sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def sample(drawing):
  return drawing.family_sample


def test_the_tables_in_the_page_equal_what_the_code_gives():
  page = (ROOT / "docs/families.md").read_text()
  assert script("write_preset_table").page(page) == page, "run scripts/write_preset_table.py"
  assert re.findall(r"^\| `([^`]+)`  ?\|", page, re.MULTILINE)[-len(presets.preset_names()) :] == sorted(
    presets.preset_names(),
    key=lambda name: (bool(re.fullmatch(r"chinchilla-\d+m", name)), presets.preset_names().index(name)),
  )


def test_a_changed_preset_would_change_the_page(monkeypatch):
  table = script("write_preset_table")
  monkeypatch.setattr(table.presets, "get_model", lambda name: presets.Model(vocab=11, width=8, head_width=4))
  page = (ROOT / "docs/families.md").read_text()
  assert table.page(page) != page


def test_the_sample_is_one_text_to_all_three_families(sample):
  text = " ".join(sample.DOCUMENTS).split()
  encoder, decoder, translator = sample.families()
  assert [word for word in sample.words(encoder.batch.targets_bt) if word in text] == text
  assert [word for word in sample.words(decoder.batch.inputs_bt) if word in text] == text
  both = [*sample.words(translator.batch.source_bs), *sample.words(translator.batch.targets_bt)]
  assert sorted(word for word in both if word in text) == sorted(text)


def test_the_encoders_sample_shows_a_mask_a_random_and_a_kept_token(sample):
  batch = sample.families()[0].batch
  chosen = batch.weights_bt > 0
  read = batch.inputs_bt[chosen]
  kept = read == batch.targets_bt[chosen]
  assert kept.any() and (read == sample.MASK).any() and (~kept & (read != sample.MASK)).any()
  np.testing.assert_array_equal(batch.inputs_bt[~chosen], batch.targets_bt[~chosen])


def test_towers_follow_the_configs(drawing):
  figure = drawing.draw()
  said = [text.get_text() for text in figure.findobj(Text)]
  assert said.count("× 12") == 4
  assert "bert-base: 109,482,240 parameters" in "\n".join(said)
  # Two norms a block of BERT and one after its embedding; GPT-2 has one at its end instead.
  assert said.count("LayerNorm") == 3 + 3
  assert said.count("RMSNorm") == 3 + 4
  assert sum("cross-attention to the source" in text for text in said) == 1
