"""Runs whose config names code of the user's own: trained, resumed, generated from, and swept in worker processes."""

import dataclasses

import pytest

from gen.config import Optimizer
from gen.errors import UserError
from gen.generation import loaded_model
from gen.training import loop
from gen.training.hooks import NoHooks, RunStopped
from gen.training.run_folders import run_length

SOURCE = """
import optax

def momentum(learning_rate, decay):
  return optax.chain(optax.trace(decay), optax.scale_by_learning_rate(learning_rate))
"""


class StopAt(NoHooks):
  def __init__(self, step):
    self.step, self.seen = step, 0

  def progress(self, row):
    self.seen = max(self.seen, row.get("step", 0))

  def stop(self):
    return self.seen >= self.step


@pytest.fixture
def own(run, tmp_path):
  (tmp_path / "own.py").write_text(SOURCE)
  optimizer = Optimizer(
    name=f"{tmp_path / 'own.py'}:momentum", options="decay=0.9", peak_learning_rate=0.3, schedule="linear"
  )
  return dataclasses.replace(run, name="", optimizer=optimizer, steps=13)


@pytest.mark.slow
def test_a_run_with_an_own_optimizer_resumes_bit_for_bit_and_generates_without_its_file(own, data, tmp_path):
  whole = loop.train_run(own, tmp_path / "whole", data)
  with pytest.raises(RunStopped):
    loop.train_run(own, tmp_path / "stopped", data, StopAt(5))
  resumed = loop.train_run(own, tmp_path / "stopped", data)
  assert resumed.loss == whole.loss < 6
  (tmp_path / "own.py").unlink()
  assert loaded_model.load_model(tmp_path / "whole").params


def test_a_run_does_not_go_on_with_edited_code(own, data, tmp_path):
  with pytest.raises(RunStopped):
    loop.train_run(own, tmp_path / "run", data, StopAt(5))
  (tmp_path / "own.py").write_text(SOURCE + "# edited\n")
  with pytest.raises(UserError, match=r"holds another run \(sources: \['optimizer.name="):
    loop.train_run(own, tmp_path / "run", data)


@pytest.mark.slow
def test_muon_trains_and_resumes_bit_for_bit_and_its_products_count(run, data, tmp_path):
  muon = dataclasses.replace(
    run, name="", steps=13, optimizer=dataclasses.replace(run.optimizer, name="muon")
  )
  whole = loop.train_run(muon, tmp_path / "whole", data)
  with pytest.raises(RunStopped):
    loop.train_run(muon, tmp_path / "stopped", data, StopAt(5))
  assert loop.train_run(muon, tmp_path / "stopped", data).loss == whole.loss
  adamw = run_length.flops_per_row(loop.complete_run(run, data)) * run.data.batch
  # 2 layers: 4 projections of 12 x 12, and two of 12 x 48; five iterations, per step.
  products = 2 * 5 * (4 * (4 * 12**3 + 2 * 12**3) + 2 * (4 * 12 * 12 * 48 + 2 * 12**3))
  assert whole.flops == pytest.approx(13 * (adamw + products), rel=1e-9)
