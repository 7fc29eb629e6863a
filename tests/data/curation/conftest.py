"""Texts of sentences that pass every rule, and a small curation."""

import json
import random

import pytest

from gen.config.curation import Curation
from gen.data.curation import funnel

TEXT = """the of and to that have with be river mountain small large quickly never always people because system number
light sound music story letter island forest winter summer table window answer bridge garden paper engine market"""
WORDS = TEXT.split()


def draw_sentence(rng):
  return " ".join(rng.choice(WORDS) for _ in range(rng.randint(7, 15))).capitalize() + "."


def draw_document(rng, paragraphs=3):
  return "\n\n".join(" ".join(draw_sentence(rng) for _ in range(4)) for _ in range(paragraphs))


@pytest.fixture
def write_jsonl(tmp_path):
  """Writes texts as JSON lines and returns the path."""

  def write(texts, name="raw.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path

  return write


@pytest.fixture
def curate(tmp_path):
  """Runs some stages over a source; returns the outcome, its folder, and the kept texts."""

  def run(source, stages, name="out", workers=1, skip_damaged=False, **parameters):
    config = Curation(stages=tuple(stages))
    for key, value in parameters.items():
      setattr(config, key, value)
    folder = tmp_path / name
    sources = [str(source)] if not isinstance(source, list) else [str(item) for item in source]
    outcome = funnel.curate_sources(
      sources, folder, config, skip_damaged=skip_damaged, options=funnel.Options(workers, silent=True)
    )
    return outcome, folder

  return run


@pytest.fixture
def make_documents():
  """Draws documents that pass every rule."""
  return lambda count, seed=0: [draw_document(random.Random(1000 * seed + at)) for at in range(count)]
