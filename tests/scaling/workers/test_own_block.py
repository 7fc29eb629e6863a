"""A sweep whose block is a file of the user's own trains in worker processes, and its models generate."""

import io
import json

import pytest
from rich.console import Console

from gen.config import Model, Sweep
from gen.errors import UserError
from gen.generation import loaded_model
from gen.scaling.sweeps import design
from gen.scaling.workers import study
from tests import tiny_run

BLOCK = """
from flax import linen as nn
from gen.models.transformer import Attention, FeedForward


class Parallel(nn.Module):
  config: object
  causal: bool = False
  cached = True

  @nn.compact
  def __call__(self, x_btd, inputs):
    y_btd = nn.LayerNorm(use_bias=False)(x_btd)
    return x_btd + Attention(self.config, self.causal)(y_btd, inputs) + FeedForward(self.config)(y_btd)
"""
COUNT = """
  @staticmethod
  def count_flops(config, length):
    return 24 * length * config.width**2
"""


def make_sweep(tmp_path, source):
  (tmp_path / "parallel.py").write_text(source)
  data = tiny_run.make_run(tiny_run.write_corpus(tmp_path), tmp_path / "cache").data
  model = Model(block=f"{tmp_path / 'parallel.py'}:Parallel", width=12, depth=2, head_width=6)
  return Sweep(
    name="own", model=model, data=data, budgets=(3.0,), widths=((12, 18),), budget_unit="steps", workers=2
  )


@pytest.mark.process
def test_two_workers_train_a_block_of_the_users_own(tmp_path):
  sweep, folder = make_sweep(tmp_path, BLOCK + COUNT), tmp_path / "sweep"
  trained = study.train_study(sweep, folder, Console(file=io.StringIO()))
  assert not trained.failed and [row["name"] for row in trained.results] == ["S3e0-w12-s0", "S3e0-w18-s0"]
  for run in trained.runs:
    saved = json.loads((folder / run.name / "config.json").read_text())
    assert "model.block=" in str(saved) and run.sources
  assert loaded_model.load_model(folder / "S3e0-w18-s0").model.width == 18


def test_a_block_that_does_not_count_its_flops_cannot_be_swept(tmp_path):
  with pytest.raises(UserError, match=r"compares runs by their FLOPs, but .* over one row; add it$"):
    design.check_sweep(make_sweep(tmp_path, BLOCK))
