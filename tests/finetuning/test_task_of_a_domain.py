"""The task of a domain: every way is fine-tuned alike, and its scores are paired by seed."""

import dataclasses
from pathlib import Path

import pytest

from gen.config.comparisons import DomainStudy
from gen.config.sweep import Sweep
from gen.data.tasks.examples import TaskData, TextExample
from gen.errors import UserError
from gen.finetuning import sweep_members
from gen.finetuning.sweep_members import SweepRows
from gen.finetuning.worth_of_labels import domain_task
from gen.scaling.comparisons.domain_records import DomainArm, DomainResults
from gen.scaling.comparisons.paired import PairedGap

SCORES = {
  "general_seed_0": 0.50, "general_seed_1": 0.60, "scratch_seed_0": 0.58, "scratch_seed_1": 0.70,
  "adapted_0_seed_0": 0.51, "adapted_0_seed_1": 0.51, "tfidf_seed_0": 0.66, "tfidf_seed_1": 0.66,
}  # fmt: skip
ARMS = [
  DomainArm(
    arm=arm, budget=6e7, width=8, params=99, runs=[], domain=PairedGap(bits, None, None, 1),
    general=PairedGap(2.0, None, None, 1), over_general_model=None, forgetting=None,
  ) for arm, bits in (("general", 3.0), ("adapted_0", 2.2), ("adapted_30", 2.4), ("scratch", 2.1))
]  # fmt: skip
EMPTY = DomainResults(
  name="", created="", confidence=0.9, arms=ARMS, verdicts=[], summary="", vocabulary=[], held_out=[], corpora={},
  tokenizers={}, failed={}, seconds=0.0, versions={}, machine={}, config={},
)  # fmt: skip


def add_task(tmp_path, monkeypatch, lost=(), task_seeds=0):
  asked = {}

  def train(members, workdir, workers, report):
    asked.update(members)
    rows = {
      name: {"name": name, "metric": "accuracy", "examples": 7, "score": SCORES[name], "low": SCORES[name] - 0.1,
             "high": SCORES[name] + 0.1}
      for name in members if name not in lost
    }  # fmt: skip
    return SweepRows(rows, dict.fromkeys(lost, "no memory"))

  monkeypatch.setattr(sweep_members, "train_members", train)
  part = tuple(TextExample(f"text {number}", "ab"[number % 2]) for number in range(9))
  read = TaskData("classify", part, part[:2], part[:5], ("a", "b"), "set.csv", "")
  runs = {
    arm: {seed: Path(arm) / f"s{seed}" for seed in (0, 1)}
    for arm in ("general", "adapted_30", "adapted_0", "scratch")
  }
  study = DomainStudy(sweep=Sweep(budgets=(3e7, 6e7)), task_examples=7, task_seeds=task_seeds)
  return domain_task.add_task(EMPTY, "set.csv", read, study, runs, tmp_path, print).task, asked


def test_all_ways_are_fine_tuned_with_the_same_settings_on_the_same_examples(tmp_path, monkeypatch):
  task, asked = add_task(tmp_path, monkeypatch)
  tuned = [member.settings for member in asked.values() if member.kind == "finetune"]
  assert len(tuned) == 6 and len({each.start_from for each in tuned}) == 6
  assert not any(name.startswith("adapted_30") for name in asked)  # the other adapted model has less loss
  assert len({dataclasses.replace(each, start_from="", seed=0) for each in map(_plain, tuned)}) == 1
  assert {(each.limit, each.patience) for each in tuned} == {(7, 0)}
  assert task.budget == 6e7 and task.examples == 7 and task.test_examples == 5
  assert task.baseline == {"majority": pytest.approx(0.6)} and "start_from" not in task.settings


def _plain(settings):
  return dataclasses.replace(settings, columns=())  # a dictionary cannot be hashed


def test_differences_to_the_general_model_are_paired_by_seed(tmp_path, monkeypatch):
  task, _ = add_task(tmp_path, monkeypatch)
  general, adapted, scratch, words = task.arms
  assert [arm.arm for arm in task.arms] == ["general", "adapted_0", "scratch", "tfidf"]
  assert adapted.over_general_model.mean == pytest.approx(-0.04) and words.scores["1"] == 0.66
  assert general.over_general_model is None and scratch.scores == {"0": 0.58, "1": 0.70}
  # Of 2 pairs: mean +-t s / sqrt(2), t = 6.314 at one degree of freedom.
  assert scratch.over_general_model.mean == pytest.approx(0.09)
  assert scratch.over_general_model.low == pytest.approx(0.09 - 6.314 * 0.01, abs=1e-4)


def test_a_fine_tuning_that_failed_leaves_the_other_seeds(tmp_path, monkeypatch):
  task, _ = add_task(tmp_path, monkeypatch, lost=("scratch_seed_1",))
  scratch = next(arm for arm in task.arms if arm.arm == "scratch")
  assert scratch.scores == {"0": 0.58} and scratch.over_general_model.seeds == 1
  assert task.failed == {"scratch_seed_1": "no memory"}


def test_a_task_of_numbers_is_refused(tmp_path):
  path = tmp_path / "scores.csv"
  path.write_text("text,score\n" + "".join(f"text {number},{number}.5\n" for number in range(40)))
  with pytest.raises(UserError, match="its labels are numbers"):
    domain_task.read_task(str(path), 10, lambda _: None)


def test_one_seed_has_the_interval_of_the_test_examples_alone(tmp_path, monkeypatch):
  task, asked = add_task(tmp_path, monkeypatch, task_seeds=1)
  assert all(name.endswith("seed_0") for name in asked) and len(task.arms) == 4
  assert task.arms[0].mean.low is None
  assert (task.arms[0].test_low, task.arms[0].test_high) == pytest.approx((0.4, 0.6))
