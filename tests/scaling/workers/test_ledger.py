import dataclasses

import pytest

from gen.config import Criteria, Data, Model, Optimizer, Sweep, config_hash
from gen.errors import UserError
from gen.scaling.sweeps import design
from gen.scaling.workers import ledger as ledgers
from gen.training.run_folders import run_folder
from gen.training.run_log import journal

IDENTITY = {"corpus_sha256": "ab", "tokenizer": "cd"}


def study(**changes):
  base = Sweep(
    model=Model(head_width=8), data=Data(length=8, batch=2), budgets=(1e9, 2e9), widths=((8, 16), (16, 24))
  )
  return dataclasses.replace(base, **changes)


def open_ledger(folder, sweep=None, identity=IDENTITY):
  sweep = sweep or study()
  return ledgers.SweepLedger(folder, sweep, design.expand_sweep(sweep, 259), identity)


def row(run, kind="train", **values):
  return {"kind": kind, "time": 1.0, "run": config_hash(run), "name": run.name} | values


def write_run(folder, run, *rows):
  (folder / run.name).mkdir(parents=True, exist_ok=True)
  (folder / run.name / "config.json").write_bytes(run_folder.config_text(run))
  with journal.Journal(folder / run.name / "journal.jsonl") as own:
    for values in rows:
      own.append(row(run, **values))


def by_name(book):
  return {run.name: run for run in book.runs}


def test_a_finished_run_is_never_left_and_an_interrupted_one_is(tmp_path):
  runs = by_name(open_ledger(tmp_path))
  write_run(tmp_path, runs["C1e9-w8-s0"], {"step": 1, "loss": 2.0}, {"kind": "result", "loss": 1.5})
  write_run(tmp_path, runs["C2e9-w24-s0"], {"step": 1, "loss": 2.0})
  again = open_ledger(tmp_path)
  assert [run.name for run in again.left()] == ["C2e9-w16-s0", "C2e9-w24-s0", "C1e9-w16-s0"]
  assert [r["name"] for r in again.results()] == ["C1e9-w8-s0"]
  assert [r["loss"] for r in again.curves()] == [2.0]


def test_the_journal_is_put_in_order_from_the_runs_own_whatever_was_torn_or_doubled(tmp_path):
  with open_ledger(tmp_path) as book:
    runs = by_name(book)
    late, early = runs["C2e9-w16-s0"], runs["C1e9-w8-s0"]
    for run in (late, early):
      write_run(
        tmp_path, run, {"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"kind": "result", "loss": 1.0}
      )
    for kind, step in (("train", 1), ("train", 1), ("train", 2)):
      book.record(late, row(late, kind, step=step))
    book.record(early, row(early, "resume", step=0))
    with (tmp_path / "journal.jsonl").open("a") as file:
      file.write('{"kind": "tra')
  rows = journal.read_journal(tmp_path / "journal.jsonl")
  assert [(r["name"], r["kind"], r.get("step")) for r in rows] == [
    (name, kind, step)
    for name in ("C1e9-w8-s0", "C2e9-w16-s0")
    for kind, step in (("train", 1), ("train", 2), ("result", None))
  ]


def test_rows_are_in_the_sweeps_journal_as_soon_as_they_are_recorded(tmp_path):
  book = open_ledger(tmp_path)
  run = book.runs[0]
  book.record(run, row(run, step=7))
  assert [r["step"] for r in journal.read_journal(tmp_path / "journal.jsonl")] == [7]
  book.record(run, row(run, "result", loss=1.0))
  assert book.result(run)["loss"] == 1.0 and run not in book.left()


def test_results_say_their_budget_and_whether_they_are_held_out(tmp_path):
  book = open_ledger(tmp_path, study(held_out=4e9, held_out_widths=(24,)))
  for run in book.left():  # The longest first; results come out smallest budget first.
    book.record(run, row(run, "result", loss=1.0))
  found = [(r["budget"], r["held_out"]) for r in book.results()]
  assert found == [(1e9, False), (1e9, False), (2e9, False), (2e9, False), (4e9, True)]


def test_a_study_may_grow_and_keeps_what_is_done(tmp_path):
  with open_ledger(tmp_path) as book:
    run = book.runs[0]
    write_run(tmp_path, run, {"kind": "result", "loss": 1.5})
  grown = study(
    budgets=(1e9, 2e9, 4e9), widths=((8, 16), (16, 24), (24,)), seeds=(2, 1, 1), workers=7, bootstraps=3,
    checkpoint_seconds=1.0,
  )  # fmt: skip
  with open_ledger(tmp_path, grown) as book:
    assert book.result(run)["loss"] == 1.5
    assert len(book.left()) == len(book.runs) - 1 == 6


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"optimizer": Optimizer(beta2=0.99)}, "optimizer.beta2 was 0.98, now 0.99"),
    ({"seed": 3}, "seed was 0, now 3"),
    ({"criteria": Criteria(min_steps=1)}, "criteria.min_steps was 1000, now 1"),
    ({"model": Model(head_width=4, depth=3)}, "model.depth was 4, now 3; model.head_width was 8, now 4"),
  ],
)
def test_another_study_in_the_folder_is_refused_with_what_differs(tmp_path, changes, words):
  open_ledger(tmp_path).close()
  with pytest.raises(UserError, match=words):
    open_ledger(tmp_path, study(**changes))
  open_ledger(tmp_path).close()


def test_a_change_of_a_run_that_is_there_is_refused_though_the_study_may_grow(tmp_path):
  with open_ledger(tmp_path) as book:
    write_run(tmp_path, by_name(book)["C2e9-w16-s0"], {"step": 1})
  with pytest.raises(UserError, match=r"C2e9-w16-s0 holds another run .*data.batch was 2, now 4"):
    open_ledger(tmp_path, study(batches=(2, 4)))
  open_ledger(tmp_path, study(batches=(4, 2))).close()


def test_other_text_is_another_sweep(tmp_path):
  open_ledger(tmp_path).close()
  with pytest.raises(UserError, match=r"another corpus_sha256 \(ab, now xx\)"):
    open_ledger(tmp_path, identity=IDENTITY | {"corpus_sha256": "xx"})
  with pytest.raises(UserError, match="another tokenizer"):
    open_ledger(tmp_path, identity=IDENTITY | {"tokenizer": "xx"})


def test_a_broken_config_is_named(tmp_path):
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(UserError, match=r"config\.json"):
    open_ledger(tmp_path)


def test_wall_time_adds_up_over_sittings(tmp_path):
  with open_ledger(tmp_path) as book:
    book.spent(4.0)
    book.spent(10.0)
    write_run(tmp_path, book.runs[0], {"kind": "result", "loss": 1.5, "seconds": 9.0})
  with open_ledger(tmp_path) as book:
    book.spent(2.0)
    assert book.utilization() == {"step_seconds": 9.0, "worker_seconds": 12.0, "share": 0.75}
    assert book.seconds > 0


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot write"):
    open_ledger(tmp_path / "file" / "sweep")
