"""A trace covers the steps that were asked for and no others, and no number depends on it."""

import dataclasses
import json

import jax
import pytest

from gen.config.profile_steps import parse_profile
from gen.errors import UserError
from gen.training import loop, profiler
from tests import tiny_run


@pytest.fixture
def traced(monkeypatch):
  """Notes when a trace starts and ends instead of tracing."""
  events = []
  monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: events.append(("start", folder)))
  monkeypatch.setattr(jax.profiler, "stop_trace", lambda: events.append(("stop", None)))
  return events


@pytest.mark.parametrize("text", ["0:3", "5:4", "10:", ":3", "a:b", "1:2:3", "-1:4", "1.5:2", " "])
def test_a_profile_that_is_no_range_is_one_sentence(text):
  with pytest.raises(UserError, match=r"^profile is .*; [^\n]*$"):
    parse_profile(text)


def test_a_profile_beyond_the_run_names_the_steps_that_there_are(tmp_path):
  with pytest.raises(UserError, match="profile is '30:38', but the run has 37 steps"):
    profiler.StepProfiler("30:38", tmp_path, 37)


def test_dispatches_of_several_steps_end_where_the_trace_does(
  run, data, trained, tmp_path, traced, monkeypatch
):
  dispatches = []
  advance = profiler.StepProfiler.before

  def before(self, done):
    advance(self, done)
    dispatches.append((done, self.tracing))

  monkeypatch.setattr(profiler.StepProfiler, "before", before)
  plain = trained(run)[1]
  result = loop.train_run(dataclasses.replace(run, profile="11:13"), tmp_path / "run", data)
  assert traced == [("start", tmp_path / "run" / "profile"), ("stop", None)]
  assert min(done for done, tracing in dispatches if tracing) == 10
  assert {done for done, tracing in dispatches if tracing} <= {10, 11, 12}
  assert 13 in [done for done, tracing in dispatches if not tracing]
  ours, theirs = (tiny_run.without_clocks(each) for each in (result, plain))
  assert {**ours, "config": None} == {**theirs, "config": None}


def test_a_run_that_stops_inside_the_range_ends_its_trace(run, data, tmp_path, traced):
  stopped = dataclasses.replace(run, profile="4:30")
  with pytest.raises(loop.RunStopped):
    loop.train_run(stopped, tmp_path / "run", data, tiny_run.StopAt(10))
  assert [kind for kind, _ in traced] == ["start", "stop"]
  loop.train_run(stopped, tmp_path / "run", data)  # traces the rest of the range
  assert [kind for kind, _ in traced] == ["start", "stop"] * 2


def test_steps_that_were_done_before_are_not_traced(run, data, tmp_path, traced):
  with pytest.raises(loop.RunStopped):
    loop.train_run(run, tmp_path / "run", data, tiny_run.StopAt(10))
  loop.train_run(dataclasses.replace(run, profile="2:3"), tmp_path / "run", data)
  assert traced == []


def test_a_trace_is_written_into_the_folder_of_the_run(run, data, tmp_path):
  loop.train_run(dataclasses.replace(run, profile="3:4"), tmp_path / "run", data)
  written = list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
  assert len(written) == 1 and written[0].stat().st_size > 1000
  rows = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
  assert rows[-1]["kind"] == "result"
