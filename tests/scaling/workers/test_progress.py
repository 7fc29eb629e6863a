import io

import pytest
from rich.console import Console

from gen.config import Data, Model, Sweep
from gen.scaling.sweeps import design
from gen.scaling.workers import progress
from gen.scaling.workers.pool import WorkerEvent


def runs_of():
  study = Sweep(
    model=Model(head_width=8), data=Data(length=8, batch=2), budgets=(1e9, 3e9), widths=((8, 16), (16, 24))
  )
  return design.expand_sweep(study, 259)


def half(run):
  return {"kind": "train", "flops": run.flops / 2, "loss": 2.345, "tokens_per_second": 12345.0, "gflops": 2.0}


def test_the_time_left_is_flops_over_measured_rate():
  runs = runs_of()
  tally = progress.SweepTally(runs, runs, workers=2)
  assert tally.seconds_left is None and tally.left == 4
  for number in range(2):
    tally.take(WorkerEvent("started", number, runs[number]))
    tally.take(WorkerEvent("row", number, runs[number], half(runs[number])))
  assert tally.flops_left == pytest.approx(1e9 + 1e9 + 1.5e9 + 1.5e9)
  assert tally.gflops == pytest.approx(4.0)
  assert tally.seconds_left == pytest.approx(5e9 / 4e9)
  tally.take(WorkerEvent("finished", 0, runs[0], half(runs[0])))
  assert (tally.done, tally.left) == (1, 3)


def test_the_time_left_counts_what_runs_take_outside_their_steps():
  runs, now = runs_of(), [10.0]
  tally = progress.SweepTally(runs, runs, workers=1, clock=lambda: now[0])
  tally.take(WorkerEvent("started", 0, runs[0]))
  tally.take(WorkerEvent("row", 0, runs[0], half(runs[0])))
  now[0] = 25.0
  tally.take(WorkerEvent("finished", 0, runs[0], {"seconds": 3.0}))
  assert tally.seconds_left == pytest.approx(tally.flops_left / 2e9 + 3 * (15.0 - 3.0))


def test_one_long_run_bounds_the_time_left():
  runs = runs_of()
  tally = progress.SweepTally(runs, runs[:1], workers=8)
  tally.take(WorkerEvent("started", 0, runs[0]))
  tally.take(WorkerEvent("row", 0, runs[0], half(runs[0])))
  assert tally.seconds_left == pytest.approx(1.5e9 / 2e9)


def test_a_run_that_must_be_tried_again_counts_as_left():
  runs = runs_of()
  tally = progress.SweepTally(runs, runs, workers=1)
  tally.take(WorkerEvent("started", 0, runs[0]))
  tally.take(WorkerEvent("retried", 0, runs[0], text="killed"))
  assert tally.flops_left == pytest.approx(sum(run.flops for run in runs))
  tally.take(WorkerEvent("started", 0, runs[0]))
  tally.take(WorkerEvent("failed", 0, runs[0], text="killed"))
  assert (tally.done, tally.failed, tally.left) == (0, 1, 3)


def test_plain_lines_say_one_line_a_finished_run_and_are_else_silent_for_a_while():
  runs, lines, now = runs_of(), [], [0.0]
  tally = progress.SweepTally(runs, runs, workers=1)
  show = progress.PlainProgress(tally, lines.append, clock=lambda: now[0])
  show.show(WorkerEvent("started", 0, runs[0]))
  for _ in range(50):
    show.show(WorkerEvent("row", 0, runs[0], half(runs[0])))
  assert lines == []
  now[0] = progress.QUIET_SECONDS + 1
  show.tick()
  show.tick()
  assert len(lines) == 1 and runs[0].name in lines[0] and "50 %" in lines[0] and "2.345" in lines[0]
  show.show(WorkerEvent("finished", 0, runs[0], half(runs[0])))
  assert len(lines) == 2
  for words in ("1 of 4 runs done, 3 left", "loss 2.3450", "12,345 tokens/s", "2.0 GFLOP/s", "s left"):
    assert words in lines[1]
  show.show(WorkerEvent("failed", 0, runs[1], text="its worker was ended by SIGKILL"))
  assert lines[2] == f"{runs[1].name} failed: its worker was ended by SIGKILL"


def test_a_pipe_gets_lines_and_a_terminal_a_table():
  runs = runs_of()
  pipe = io.StringIO()
  plain = progress.make_display(progress.SweepTally(runs, runs, 1), Console(file=pipe))
  assert isinstance(plain, progress.PlainProgress)
  plain.say("a line")
  assert pipe.getvalue() == "a line\n"

  screen = io.StringIO()
  live = progress.make_display(
    progress.SweepTally(runs, runs, 2), Console(file=screen, force_terminal=True, width=100)
  )
  live.show(WorkerEvent("started", 1, runs[0]))
  live.show(WorkerEvent("row", 1, runs[0], half(runs[0])))
  live.show(WorkerEvent("row", 1, runs[0], {"kind": "resume", "step": 3}))
  live.show(WorkerEvent("started", 0, runs[1]))
  live.show(WorkerEvent("finished", 0, runs[1], half(runs[1])))
  live.close()
  text = screen.getvalue()
  for words in ("GFLOP/s", runs[0].name, "12,345", "50 %", "1 of 4 runs done", f"{runs[1].name}: loss"):
    assert words in text
