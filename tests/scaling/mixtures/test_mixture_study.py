"""A study of weights: its runs go through the sweep's ledger, its proposal is checked, and it resumes."""

import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from gen.config import Data, Model, Sweep
from gen.errors import UserError
from gen.scaling.mixtures import mixture_study, mixture_summary
from gen.scaling.mixtures.mixture_study import MixtureRun
from gen.scaling.workers import study

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))


@pytest.fixture
def sweep(tmp_path):
  corpora = []
  for name in ("hay", "straw", "goal"):
    (tmp_path / name).mkdir()
    for number in range(12):
      (tmp_path / name / f"{number}.txt").write_text(f"{name} {number} says something of its number. " * 30)
    corpora.append((name, str(tmp_path / name), 0.0 if name == "goal" else 1.0))
  return Sweep(
    model=Model(depth=1, head_width=8),
    data=Data(
      mixture=corpora, length=16, batch=2, validation_fraction=0.3, cache=str(tmp_path / "cache")
    ),
    budgets=(1e7,), widths=((8,),), seeds=(1, 2), held_out=2e7, held_out_widths=(8,), bootstraps=20,
  )  # fmt: skip


def train(sweep, folder):
  folder.mkdir(exist_ok=True)
  screen = io.StringIO()
  trained = study.train_study(sweep, folder, Console(file=screen, soft_wrap=True), COMMAND)
  return mixture_study.measured_runs(sweep, "goal", trained.runs, trained.results), screen.getvalue()


def test_a_study_finds_the_weights_that_its_losses_were_made_with(sweep, tmp_path):
  designed = mixture_study.designed_sweep(sweep, "goal", 4)
  assert len(designed.mixtures) == 7 and designed.seeds == (1,)
  runs, _ = train(designed, tmp_path / "grid")
  again, said = train(designed, tmp_path / "grid")
  assert again == runs and "all 7 runs are done" in said
  found = mixture_study.fit_study(designed, "goal", runs, 20, 0.9)
  # tests/scaling/fake_worker.py: loss = 1 + exp(-2 hay) + exp(-3 straw)
  assert found.corpora == ["hay", "straw"] and found.proposed[0] == pytest.approx(0.519, abs=0.03)
  checking = mixture_study.checking_sweep(sweep, designed, found.proposed)
  assert checking.budgets == (2e7,) and checking.seeds == (2,)
  checked, _ = train(checking, tmp_path / "checked")
  assert len(checked) == 4 and {run.seed for run in checked}.isdisjoint({run.seed for run in runs})
  check = mixture_study.check_proposal(found, checked)
  assert check.gain == pytest.approx(check.equal - check.proposed) and check.error == pytest.approx(
    0, abs=1e-9
  )
  lines = mixture_summary.study_lines(dataclasses.replace(found, check=check), 0.9)
  assert lines[-1].startswith("  --config.data.mixture='hay=0.5")
  assert [path.name for path in mixture_summary.draw_study(tmp_path, found)] == ["mixture.png", "mixture.pdf"]


def test_a_target_that_is_no_corpus_of_the_mixture_is_only_evaluated(sweep):
  designed = mixture_study.designed_sweep(sweep, "other.txt", 0)
  assert designed.data.mixture[-1].name == "other.txt" and designed.data.mixture[-1].weight == 0
  assert designed.mixtures == ((1, 0, 0, 0), (0, 1, 0, 0), (0.5, 0.5, 0, 0))


def run(weights, seed, loss):
  return MixtureRun(json.dumps([weights, seed]), seed, weights, loss, loss)


def test_a_proposal_is_better_only_beyond_two_standard_errors():
  found = mixture_study.MixtureStudy("goal", ["a", "b"], [], None, [0.2, 0.8], "a=0.2,b=0.8")
  clear = [run([0.2, 0.8], seed, 2.0 + seed / 100) for seed in range(3)]
  equal = [run([0.5, 0.5], seed, 2.1 + seed / 90) for seed in range(3)]
  check = mixture_study.check_proposal(found, clear + equal)
  assert check.better and check.gain == pytest.approx(0.1 + 1 / 90 - 1 / 100)
  noisy = [dataclasses.replace(each, loss=each.loss + (-0.4, 0.0, 0.5)[each.seed]) for each in equal]
  assert not mixture_study.check_proposal(found, clear + noisy).better
  with pytest.raises(UserError, match="no finished run in common"):
    mixture_study.check_proposal(found, clear)


@pytest.mark.parametrize(
  ("changes", "target", "sentence"),
  [
    ({}, "", "--target is empty"),
    ({"mixtures": ((1, 0, 0),)}, "goal", "are axes of other sweeps"),
    ({"data": Data()}, "goal", "at least two candidates a weight"),
    ({"data": Data(mixture="a=1,b=0")}, "goal", "at least two candidates a weight"),
    ({"data": Data(mixture="a=1,b=1", mixture_schedule=((0.5, 1, 0),))}, "a", "may only name candidates"),
  ],
  ids=str,
)
def test_a_mistake_is_one_sentence(sweep, changes, target, sentence):
  with pytest.raises(UserError, match=sentence):
    mixture_study.designed_sweep(dataclasses.replace(sweep, **changes), target, 2)
