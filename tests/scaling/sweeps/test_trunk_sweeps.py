"""Studies whose sizes are trunks: which runs share what, in which order they start, and what they cost."""

import dataclasses

import pytest

from gen.config import Data, Model, Optimizer, Sweep, config_hash
from gen.errors import UserError
from gen.scaling.report import tables, view
from gen.scaling.sweeps import design, trunk_sweeps
from gen.scaling.workers import progress
from gen.scaling.workers.ledger import SweepLedger
from gen.scaling.workers.pool import WorkerEvent

VOCAB = 259


def study(**changes):
  base = Sweep(
    model=Model(depth=2, head_width=8),
    data=Data(length=64, batch=8),
    optimizer=Optimizer(peak_learning_rate=0.004, schedule="wsd", warmup=0.1, decay=0.25),
    budgets=(1e9, 2e9, 4e9),
    widths=((8, 16), (8, 16), (16, 24)),
    seeds=(2, 1, 1),
    held_out=8e9,
    held_out_widths=(24,),
    trunks=True,
    min_steps=150,
    rate_steps=100.0,
    rate_steps_power=-0.5,
  )
  return dataclasses.replace(base, **changes)


def by_name(sweep):
  return {run.name: run for run in design.expand_sweep(sweep, VOCAB)}


def steps_of(run):
  return round(run.flops / design.flops_per_step(run))


def test_runs_that_differ_in_budget_alone_are_branches_of_one_trunk():
  runs = by_name(study())
  assert {run.trunk for run in runs.values()} == {
    "trunk-w8-s0", "trunk-w8-s1", "trunk-w16-s0", "trunk-w16-s1", "trunk-w24-s0",
  }  # fmt: skip
  assert runs["C2e9-w16-s0"].branches == (1e9, 2e9, 4e9) and runs["C1e9-w16-s1"].branches == (1e9,)
  assert runs["C8e9-w24-s0"].branches == (4e9, 8e9), "the held-out budget is one of them"
  rates = by_name(study(learning_rate_multipliers=(0.5, 2.0)))
  assert rates["C1e9-w8-r0.5-s1"].trunk == "trunk-w8-r0.5-s1"


def test_branches_share_batch_warmup_and_rate_so_that_they_share_their_trunk():
  runs = by_name(study())
  for width, longest in ((8, 2e9), (16, 4e9), (24, 8e9)):
    own = [run for run in runs.values() if run.model.width == width]
    assert len({run.data.batch for run in own}) == len({run.optimizer.peak_learning_rate for run in own}) == 1
    shortest = min(own, key=lambda run: run.flops)
    assert steps_of(shortest) >= 150 or own[0].data.batch == 1, "the shortest run has its steps"
    warmups = {round(run.optimizer.warmup * steps_of(run), 9) for run in own}
    assert warmups == {round(0.1 * steps_of(shortest))}
    steps = longest / design.flops_per_step(own[0])
    assert own[0].optimizer.peak_learning_rate == pytest.approx(0.004 * (steps / 100) ** -0.5, rel=1e-3)
  assert runs["C1e9-w16-s1"].data.batch == runs["C4e9-w16-s0"].data.batch, "whatever the seed"


def test_without_trunks_the_same_study_trains_each_run_alone():
  for run in by_name(study(trunks=False)).values():
    assert (run.trunk, run.branches, run.optimizer.warmup) == ("", (), 0.1)
    assert trunk_sweeps.own_share(run) == 1


def test_what_a_branch_computes_does_not_depend_on_the_other_branches():
  few = by_name(study(budgets=(1e9, 2e9), widths=((8, 16), (8, 16)), seeds=(), held_out=0, held_out_widths=(),
                      rate_steps_power=0.0))  # fmt: skip
  many = by_name(study(rate_steps_power=0.0))
  assert all(config_hash(run) == config_hash(many[name]) for name, run in few.items())


def test_runs_that_train_trunks_start_first_and_branches_in_the_order_of_their_trunks():
  started = [run.name for run in design.expand_sweep(study(seeds=()), VOCAB)]
  assert started[:3] == ["C8e9-w24-s0", "C4e9-w16-s0", "C2e9-w8-s0"]
  assert started[3:] == ["C4e9-w24-s0", "C2e9-w16-s0", "C1e9-w16-s0", "C1e9-w8-s0"]


def test_the_time_left_does_not_count_a_trunk_for_each_of_its_branches():
  runs = design.expand_sweep(study(seeds=()), VOCAB)
  tally = progress.SweepTally(runs, runs, workers=1)
  assert tally.flops == pytest.approx((8 + 4 + 2 + 0.25 * (4 + 2 + 1 + 1)) * 1e9)
  branch = next(run for run in runs if run.name == "C4e9-w24-s0")
  tally.take(WorkerEvent("started", 0, branch))
  tally.take(WorkerEvent("row", 0, branch, {"kind": "branch", "flops": 3e9}))
  assert tally.current[0].share == 0
  tally.take(WorkerEvent("row", 0, branch, {"kind": "train", "flops": 3.5e9}))
  assert tally.current[0].share == 0.5 and tally.flops_left == pytest.approx(tally.flops - 0.5e9)


def row(run, own):
  return {"kind": "result", "run": config_hash(run), "name": run.name, "flops": run.flops, "loss": 2.0, "params": 1e4,
          "tokens": 1e5, "flops_spent": own * run.flops, "seconds": 8.0, "seconds_spent": 8.0 * own,
          "trunk": run.trunk, "budget": run.flops}  # fmt: skip


def test_what_was_spent_counts_each_trunk_once_in_flops_and_seconds(tmp_path):
  sweep = study(seeds=())
  runs = design.expand_sweep(sweep, VOCAB)
  with SweepLedger(tmp_path, sweep, runs, {}) as ledger:
    for run in runs:
      ledger.record(run, row(run, 0.25))
    rows = ledger.results()
    assert ledger.utilization()["step_seconds"] == pytest.approx(len(runs) * 2 + 3 * 6)
  cost = trunk_sweeps.study_compute(rows)
  charged = (8 + 4 + 4 + 2 + 2 + 1 + 1) * 1e9
  shared = 0.75 * (8 + 4 + 2) * 1e9
  assert cost.charged_flops == pytest.approx(charged) and cost.trunk_flops == pytest.approx(shared)
  assert cost.spent_flops == pytest.approx(shared + charged / 4) and cost.trunks == 3
  assert cost.saving == pytest.approx(charged / (shared + charged / 4))

  table = tables.compute_table(view.read_results({"points": rows, "compute": dataclasses.asdict(cost)}))
  assert [cell.text for cell in table.rows[0].cells] == ["7", "3", "2.2e10", "1.6e10", "1.05e10", "1.38"]
  warnings = tables.fit_warnings(view.read_results({"points": rows, "compute": dataclasses.asdict(cost)}))
  assert any("share its noise" in text for text in warnings)


def test_runs_that_are_trained_alone_are_spent_as_charged():
  cost = trunk_sweeps.study_compute([{"flops": 3e9}, {"flops": 4e9, "flops_spent": 4e9, "trunk": None}])
  assert cost == trunk_sweeps.StudyCompute(7e9, 7e9, trunk_flops=0, trunks=0, saving=1)
  seen = view.read_results({"points": [], "compute": dataclasses.asdict(cost)})
  assert tables.compute_table(seen) is None and tables.fit_warnings(seen) == []


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    (
      {"optimizer": Optimizer(schedule="cosine")},
      "optimizer.schedule cosine decays all the way; set it to wsd or",
    ),
    ({"optimizer": Optimizer(schedule="wsd", decay=1.0)}, "optimizer.decay 1 leave no steps"),
    ({"optimizer": Optimizer(schedule="wsd_sqrt", warmup=0.5, decay=0.5)}, "optimizer.warmup 0.5 and"),
    ({"batches": (8, 8, 4)}, "config.batches holds (8, 8, 4), but the branches of one trunk share its batch"),
    ({"widths": ((8,), (16,), (24,)), "held_out": 0, "held_out_widths": ()}, "no trunk has two branches"),
  ],
)
def test_a_study_whose_trunks_cannot_be_shared_is_refused(changes, sentence):
  with pytest.raises(UserError) as caught:
    design.check_sweep(study(**changes))
  assert sentence in str(caught.value)
