"""The time of a sweep before its first run: what published runs took, by the rate of their machine."""

import dataclasses

import pytest

from gen.config import Data, Model, Sweep
from gen.scaling.sweeps import design
from gen.scaling.workers import forecast


def runs_of():
  study = Sweep(
    model=Model(head_width=8), data=Data(length=8, batch=2), budgets=(3e11, 9e11), widths=((8, 16), (24, 40))
  )
  return design.expand_sweep(study, 259)


def test_time_is_start_and_flops_at_the_rate_of_each_width():
  runs = runs_of()
  flops = 3e11 * (1 + 24 / 8) + 3e11 * (1 + 24 / 16) + 9e11 * (1 + 24 / 24) + 9e11 * (1 + 24 / 40)
  expected = (4 * forecast.START_SECONDS + flops / (forecast.SHARE * 7e10)) / 2
  assert forecast.sweep_seconds(runs, 2, 7e10) == pytest.approx(expected)


def test_other_programs_slow_the_start_too_and_the_longest_run_bounds_the_time():
  runs = runs_of()
  idle, busy = (forecast.sweep_seconds(runs, 2, 7e10, crowd) for crowd in (0.5, 3.0))
  assert busy - idle == pytest.approx(4 * forecast.START_SECONDS * 2 / 2)
  longest = dataclasses.replace(runs[0], flops=1e15)
  assert forecast.sweep_seconds([longest, *runs[1:]], 1000, 7e10) == pytest.approx(
    forecast.sweep_seconds([longest], 1, 7e10)
  )


def test_the_sentence_names_runs_workers_and_machine(monkeypatch):
  monkeypatch.setattr(forecast.budgets, "machine_rate", lambda: 3.1e10)
  monkeypatch.setattr(forecast.pool, "pool_cores", lambda: [0, 1, 2])
  monkeypatch.setattr(forecast.os, "getloadavg", lambda: (4.25, 1.0, 1.0))
  text = forecast.sweep_sentence(runs_of(), 2)
  assert (
    text.startswith("4 runs to train, 2.4e+12 FLOPs: ") and "on 2 workers, by 31 GFLOP/s of 3 cores" in text
  )
  assert "load of 4.2;" in text
