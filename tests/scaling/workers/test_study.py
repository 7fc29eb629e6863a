import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from gen.config import Criteria, Data, Model, Sweep
from gen.errors import UserError
from gen.io import typed_json
from gen.scaling.laws.three_fits import EnvelopeEntry, IsoflopEntry, LawEntries, ParametricEntry
from gen.scaling.verdicts.criteria import Verdict
from gen.scaling.verdicts.verdict import Analysis
from gen.scaling.workers import study as studies
from gen.training.run_log import journal

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))
ANALYSIS = Analysis(
  laws=LawEntries(EnvelopeEntry(error="no"), IsoflopEntry(error="no"), ParametricEntry(error="no")),
  held_out=None,
  leave_one_budget_out=[],
  seed_noise=None,
  verdict=Verdict(credible=True, reasons=[]),
)


@pytest.fixture
def sweep(tmp_path):
  (tmp_path / "text").mkdir()
  for number in range(12):
    (tmp_path / "text" / f"{number}.txt").write_text(f"text {number} says something about its number. " * 40)
  return Sweep(
    name="small",
    model=Model(depth=1, head_width=8),
    data=Data(
      corpus=str(tmp_path / "text" / "*.txt"),
      length=16,
      batch=2,
      validation_fraction=0.3,
      cache=str(tmp_path / "cache"),
    ),
    budgets=(1e7, 2e7),
    widths=((8, 16), (8, 16)),
    criteria=Criteria(min_steps=1),
  )


def train(sweep, folder, **directives):
  folder.mkdir(exist_ok=True)
  (folder / "directives.json").write_text(json.dumps({k.replace("_", "-"): v for k, v in directives.items()}))
  screen = io.StringIO()
  return studies.train_study(sweep, folder, Console(file=screen, soft_wrap=True), COMMAND), screen.getvalue()


def test_a_study_says_its_corpus_and_each_run_and_keeps_all_results(sweep, tmp_path):
  trained, said = train(sweep, tmp_path / "sweep")
  assert trained.loaded.corpus.sha256 in said and "4 of 4 runs done" in said
  assert [row["name"] for row in trained.results] == [
    "C1e7-w8-s0",
    "C1e7-w16-s0",
    "C2e7-w8-s0",
    "C2e7-w16-s0",
  ]
  assert len(trained.curves) == 4 * 40 and not trained.failed and not trained.interrupted
  rows = journal.read_journal(tmp_path / "sweep" / "journal.jsonl")
  assert sum(row["kind"] == "result" for row in rows) == 4


def test_a_second_sitting_has_nothing_to_do_and_the_same_results(sweep, tmp_path):
  first, _ = train(sweep, tmp_path / "sweep")
  second, said = train(sweep, tmp_path / "sweep")
  assert "all 4 runs are done" in said
  assert second.results == first.results and second.curves == first.curves


def test_a_failed_run_is_reported_and_the_verdict_knows(sweep, tmp_path):
  trained, said = train(sweep, tmp_path / "sweep", C2e7_w8_s0={"diverge": True})
  assert list(trained.failed) == ["C2e7-w8-s0"] and "C2e7-w8-s0 failed: the gradient was not finite" in said
  assert len(trained.results) == 3
  results = studies.collect_results(sweep, trained, ANALYSIS)
  assert results.verdict.credible is False and results.failed == trained.failed
  (complete,) = [reason for reason in results.verdict.reasons if reason.name == "complete"]
  assert complete.passed is False and "1 of 4 runs" in complete.sentence


def test_a_sweep_that_goes_on_says_what_it_found(sweep, tmp_path):
  _, said = train(sweep, tmp_path / "sweep", C2e7_w8_s0={"diverge": True})
  assert "resuming" not in said
  (tmp_path / "sweep" / "C2e7-w8-s0" / "checkpoints" / "000000005").mkdir(parents=True)
  _, said = train(sweep, tmp_path / "sweep")
  assert "resuming: 3 of 4 runs are done, 1 has a checkpoint" in said


def test_a_study_without_any_result_ends_with_the_reason(sweep, tmp_path):
  with pytest.raises(UserError, match=r"no run of .* could be trained; .*the gradient was not finite"):
    train(sweep, tmp_path / "sweep", **{"*": {"diverge": True}})


def test_text_that_is_read_twice_is_said_before_and_judged_after(sweep, tmp_path):
  sweep.budgets = (1e7, 2e9)
  trained, said = train(sweep, tmp_path / "sweep")
  assert "2 runs read the corpus more than once, C2e9-w8-s0" in said
  assert trained.epochs["C2e9-w8-s0"] > 1 > trained.epochs["C1e7-w16-s0"]
  reasons = {
    reason.name: reason for reason in studies.collect_results(sweep, trained, ANALYSIS).verdict.reasons
  }
  assert reasons["one_epoch"].passed is False and reasons["complete"].passed is True


def test_results_name_all_that_a_reader_must_know(sweep, tmp_path):
  trained, _ = train(sweep, tmp_path / "sweep")
  results = json.loads(
    json.dumps(typed_json.encode_record(studies.collect_results(sweep, trained, ANALYSIS)))
  )
  assert results["verdict"]["credible"] is True
  assert results["corpus"]["sha256"] == trained.loaded.corpus.sha256 and results["corpus"]["documents"] == 12
  assert results["tokenizer"]["hash"] == trained.loaded.tokenizer.hash and results["seeds"] == [0]
  assert all("config" not in point for point in results["points"]) and len(results["points"]) == 4
  assert results["compute"]["spent_flops"] == results["compute"]["charged_flops"] == 6e7
  assert {"versions", "machine", "config", "created", "seconds", "utilization", "name"} <= set(results)


def test_a_law_of_runs_on_different_texts_is_not_credible(sweep, tmp_path):
  several = dataclasses.replace(sweep, unique_tokens=(300, 600))
  trained, _ = train(several, tmp_path / "sweep")
  assert len(trained.results) == 8
  verdict = studies.collect_results(several, trained, ANALYSIS).verdict
  assert not verdict.credible
  assert verdict.reasons[-1].sentence.startswith("The runs read 2 different texts (mixtures, unique_tokens)")
