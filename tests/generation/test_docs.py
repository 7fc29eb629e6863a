"""The page on generation says what is so: its code runs, and what it names exists."""

import re
from pathlib import Path

import jax
import pytest

from gen.config import Data, Model, Run
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.generation import loaded_model
from gen.models import language_model

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "generation.md").read_text()


@pytest.fixture
def trained(monkeypatch):
  """A model in the place of the one that the page trains in minutes."""
  model = Model(vocab=ByteTokenizer().vocab, width=16, depth=2, head_width=8, context=64)
  params = language_model.initialize_parameters(model, jax.random.key(0))
  run = Run(model=model, data=Data(tokenizer="bytes"))
  reading = loaded_model.load_run(run, ByteTokenizer())
  restored = loaded_model.LoadedModel(model, params, ByteTokenizer(), reading, "decoder, step 600")
  monkeypatch.setattr(loaded_model, "load_model", {"runs/decoder": restored}.__getitem__)


@pytest.mark.slow
def test_the_code_of_the_page_runs(trained):
  blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
  assert len(blocks) >= 5
  names = {}
  for block in blocks:
    exec(compile(block, "docs/generation.md", "exec"), names)


def test_the_commands_of_the_page_name_flags_that_exist():
  scripts = (
    "experiments/generate.py",
    "experiments/pretrain.py",
    "scripts/benchmark_generate.py",
    "gen/generation/decoding_flags.py",
  )
  known = "".join((ROOT / script).read_text() for script in scripts)
  flags = set(re.findall(r"--(\w+)", PAGE)) - {"config"}
  assert len(flags) > 10
  for flag in flags:
    assert f'"{flag}"' in known, flag


def test_the_settings_of_the_page_are_those_of_the_sampler():
  from gen.generation.decoding.sampling import Sampler

  settings = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", PAGE, re.MULTILINE)
  assert len(settings) >= 5
  for name, value in settings:
    assert getattr(Sampler(), name) == float(value)
