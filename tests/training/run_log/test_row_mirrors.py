"""W&B receives the rows of a run through its own interface, and a mirror that fails ends no run."""

import dataclasses
import sys
import textwrap

import pytest

from gen.config import Run
from gen.errors import UserError
from gen.training import loop
from gen.training.run_log import row_mirrors

FAKE = """
  calls = []

  class Summary:
    def update(self, values):
      calls.append(("summary", values))

  class Started:
    summary = Summary()

    def log(self, values, step):
      if broken:
        raise OSError("no connection")
      calls.append(("log", step, values))

    def finish(self):
      calls.append(("finish",))

  broken = False
  refusal = ""

  def init(**options):
    if refusal:
      raise RuntimeError(refusal)
    calls.append(("init", options))
    return Started()
"""


@pytest.fixture
def wandb(tmp_path, monkeypatch):
  """Puts a module with the interface of wandb on the path."""
  folder = tmp_path / "modules"
  folder.mkdir()
  (folder / "wandb.py").write_text(textwrap.dedent(FAKE))
  monkeypatch.syspath_prepend(folder)
  monkeypatch.delitem(sys.modules, "wandb", raising=False)
  import wandb

  yield wandb
  sys.modules.pop("wandb", None)


@pytest.fixture
def no_wandb(monkeypatch):
  monkeypatch.delitem(sys.modules, "wandb", raising=False)
  monkeypatch.setattr(row_mirrors.importlib.util, "find_spec", lambda name: None)


@pytest.mark.slow
def test_a_run_is_logged_by_step_and_its_result_is_the_summary(run, data, tmp_path, wandb):
  logged = dataclasses.replace(run, wandb=True)
  result = loop.train_run(logged, tmp_path / "study" / "run", data)
  (_, options), *calls = wandb.calls
  assert options["dir"] == str(tmp_path / "study" / "run") and options["group"] == "study"
  assert options["id"].startswith(result.run) and options["resume"] == "allow"
  assert options["config"]["model"]["width"] == run.model.width
  steps = [step for kind, step, *_ in (call for call in calls if call[0] == "log")]
  assert steps == sorted(steps) and steps[-1] == 37
  losses = [values["train/loss"] for kind, _, values in calls[:-2] if "train/loss" in values]
  assert len(losses) == 8 and losses[-1] == pytest.approx(result.train_loss)
  assert calls[-2][0] == "summary" and calls[-2][1]["result/loss"] == result.loss
  assert calls[-1] == ("finish",)


def test_a_mirror_that_fails_is_dropped_and_the_run_goes_on(run, data, tmp_path, wandb, caplog):
  wandb.broken = True
  result = loop.train_run(dataclasses.replace(run, wandb=True), tmp_path / "run", data)
  assert result.steps == 37
  assert caplog.text.count("WeightsAndBiases stops: no connection") == 1


def test_a_refusal_says_how_to_go_on_without_a_network(tmp_path, wandb):
  wandb.refusal = "api_key not configured\nTraceback"
  with pytest.raises(UserError, match=r"W&B does not start: api_key not configured; .*WANDB_MODE=offline"):
    row_mirrors.RowMirrors(Run(wandb=True), tmp_path)


def test_a_missing_package_is_one_sentence(tmp_path, no_wandb):
  with pytest.raises(UserError, match=r"wandb is not installed; start with `uv run --extra wandb"):
    row_mirrors.RowMirrors(Run(wandb=True), tmp_path)


def test_a_folder_named_wandb_is_not_the_package(tmp_path, monkeypatch):
  (tmp_path / "wandb").mkdir()
  monkeypatch.setattr(sys, "path", [str(tmp_path)])
  monkeypatch.delitem(sys.modules, "wandb", raising=False)
  with pytest.raises(UserError, match="not installed"):
    row_mirrors.require_wandb()


def test_without_wandb_the_package_is_not_imported(run, data, tmp_path, wandb):
  sys.modules.pop("wandb")
  loop.train_run(run, tmp_path / "run", data)
  assert "wandb" not in sys.modules


def test_processes_that_do_not_write_open_nothing(wandb):
  row_mirrors.RowMirrors(Run(wandb=True, tensorboard=True), None).append({"kind": "train", "step": 1})
  assert wandb.calls == []
