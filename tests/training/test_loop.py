"""A run resumes bit for bit, whatever stopped it, and says in one sentence what it cannot do."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest

from gen.config import Data, Model, Optimizer, Run
from gen.data import loaded
from gen.errors import UserError
from gen.training import journal, loop

WORDS = "the model reads a row of tokens and predicts what comes next in it while its loss falls".split()  # noqa: SIM905


def sentence(i: int) -> str:
  return " ".join(WORDS[(i * k + k // 3) % len(WORDS)] for k in range(1, 8 + i % 5)) + f" {i}."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
  path = tmp_path_factory.mktemp("corpus") / "sentences.jsonl"
  path.write_text("".join(json.dumps({"text": sentence(i)}) + "\n" for i in range(400)))
  return path


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
  return Run(
    name="tiny",
    seed=3,
    model=Model(width=12, depth=2, head_width=6, dropout=0.1),
    data=Data(
      corpus=str(corpus),
      length=24,
      batch=3,
      validation_fraction=0.3,
      validation_tokens=500,
      cache=str(tmp_path_factory.mktemp("cache")),
    ),
    optimizer=Optimizer(peak_learning_rate=1e-2),
    steps=37,
    log_every=5,
    steps_per_dispatch=4,
    checkpoint_every=9,
  )


@pytest.fixture(scope="module")
def data(run):
  return loaded.load(run.data)


@pytest.fixture(scope="module")
def whole(run, data, tmp_path_factory):
  folder = tmp_path_factory.mktemp("whole")
  return loop.train(run, folder, data), journal.read(folder / "journal.jsonl")


def numbers(result):
  """Returns what must be equal bit for bit: all but clocks."""
  clocks = ("time", "seconds", "wall_seconds", "tokens_per_second", "gflops")
  return {name: value for name, value in result.items() if name not in clocks}


class StopAt(loop.Unattended):
  def __init__(self, step):
    self.step, self.seen = step, 0

  def progress(self, row):
    self.seen = max(self.seen, row.get("step", 0))

  def stop(self):
    return self.seen >= self.step


def test_a_stopped_run_ends_with_the_same_bits_as_one_that_was_not(run, data, whole, tmp_path):
  for stop_at in (5, 20):
    with pytest.raises(loop.Stopped):
      loop.train(run, tmp_path, data, StopAt(stop_at))
  result = loop.train(run, tmp_path, data)
  assert numbers(result) == numbers(whole[0])


def test_a_resumed_journal_holds_each_row_once_with_the_same_losses(run, data, whole, tmp_path):
  with pytest.raises(loop.Stopped):
    loop.train(run, tmp_path, data, StopAt(15))
  loop.train(run, tmp_path, data)

  def losses(rows):
    return [(row["step"], row["loss"], row["gradient_norm"]) for row in rows if row["kind"] == "train"]

  assert losses(journal.read(tmp_path / "journal.jsonl")) == losses(whole[1])


@pytest.mark.parametrize("dispatch", [1, 7, 64])
def test_steps_per_dispatch_do_not_change_a_bit(run, data, whole, tmp_path, dispatch):
  other = dataclasses.replace(run, steps_per_dispatch=dispatch)
  result = loop.train(other, tmp_path, data)
  assert (result["loss"], result["train_loss"]) == (whole[0]["loss"], whole[0]["train_loss"])


def test_a_finished_run_is_never_trained_again(run, data, whole, tmp_path):
  first = loop.train(run, tmp_path, data)

  class Fails(loop.Unattended):
    def progress(self, row):
      raise AssertionError(f"trained again: {row}")

  assert loop.train(run, tmp_path, data, Fails()) == json.loads(json.dumps(first))


KILLED = """
import dataclasses, json, sys
from gen.config import Run, from_dict
from gen.data import loaded
from gen.training import loop
run = from_dict(Run, json.loads(sys.argv[1]))
result = loop.train(run, sys.argv[2], loaded.load(run.data))
print(json.dumps(result))
"""


def test_a_run_killed_in_mid_flight_ends_with_the_same_bits(run, whole, tmp_path):
  # Long enough for the kill to fall between checkpoints, and compared with its own uninterrupted twin.
  command = [sys.executable, "-c", KILLED, json.dumps(dataclasses.asdict(run)), str(tmp_path)]
  process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
  deadline = time.time() + 120
  while time.time() < deadline and process.poll() is None:
    steps = tmp_path / "checkpoints"
    if steps.exists() and any(path.name.isdigit() for path in steps.iterdir()):
      break
    time.sleep(0.005)
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  finished = subprocess.run(command, capture_output=True, text=True, check=True)
  assert numbers(json.loads(finished.stdout)) == numbers(whole[0])


def test_the_result_counts_what_was_trained(whole, run):
  result = whole[0]
  assert result["tokens"] == 37 * 3 * 24
  assert 0 < result["loss_tokens"] < result["tokens"]  # the begins of documents bear no loss
  assert result["flops"] == result["tokens"] * result["flops_per_token"]
  assert result["params_total"] == sum(result["params_by_group"].values())
  assert math.isclose(result["flops_6nd"], 6 * result["params"] * result["tokens"])
  assert result["loss"] < math.log(260)


@pytest.mark.parametrize("field", ["tokens", "flops"])
def test_a_horizon_in_tokens_or_flops_is_as_many_steps(run, field):
  model = dataclasses.replace(run.model, vocab=260, context=24)
  of_steps = dataclasses.replace(run, model=model)
  per_step = 72 if field == "tokens" else 72 * loop.counts.flops_per_token(model, 24)
  other = dataclasses.replace(of_steps, steps=0, **{field: 11.2 * per_step})
  assert loop.steps_of(other) == 11


def test_a_horizon_of_less_than_a_step_is_refused(run):
  model = dataclasses.replace(run.model, vocab=260)
  with pytest.raises(UserError, match="less than one step of 72 tokens"):
    loop.steps_of(dataclasses.replace(run, model=model, steps=0, tokens=10.0))


def test_a_folder_of_another_run_is_refused_with_the_fields_that_differ(run, data, tmp_path):
  loop.train(dataclasses.replace(run, steps=3), tmp_path, data)
  other = dataclasses.replace(run, steps=3, model=dataclasses.replace(run.model, width=18))
  with pytest.raises(UserError, match=r"model\.width: 12 -> 18"):
    loop.train(other, tmp_path, data)


def test_another_tokenizer_at_resumption_is_refused(run, data, tmp_path):
  with pytest.raises(loop.Stopped):
    loop.train(run, tmp_path, data, StopAt(10))
  other = data._replace(tokenizer=_Renamed(data.tokenizer))
  with pytest.raises(UserError, match="tokenizer"):
    loop.train(run, tmp_path, other)


class _Renamed:
  """A tokenizer like another, under another hash."""

  def __init__(self, tokenizer):
    self._tokenizer, self.hash = tokenizer, "0000000000000000"

  def __getattr__(self, name):
    return getattr(self._tokenizer, name)


def test_too_many_steps_that_are_not_finite_end_the_run_and_name_the_checkpoint(run, data, tmp_path):
  wild = dataclasses.replace(
    run,
    optimizer=Optimizer(peak_learning_rate=1e38, schedule="constant", warmup=0.5, clip=0.0, most_skipped=2),
    checkpoint_every=1,
    log_every=1,
  )
  with pytest.raises(UserError, match=r"not finite by step \d+; the last good checkpoint is step \d+ in"):
    loop.train(wild, tmp_path, data)


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused(run, data, tmp_path):
  small = dataclasses.replace(run, model=dataclasses.replace(run.model, vocab=100))
  with pytest.raises(UserError, match="smaller than the 260 ids"):
    loop.train(small, tmp_path, data)


def test_evaluations_appear_where_they_were_asked_for(run, data, tmp_path):
  loop.train(dataclasses.replace(run, steps=12, evaluate_every=5), tmp_path, data)
  rows = [row for row in journal.read(tmp_path / "journal.jsonl") if row["kind"] == "evaluation"]
  assert [row["step"] for row in rows] == [5, 10, 12]
  assert all(row["bits_per_byte"] > 0 for row in rows)


def recurrent_of(run, family, carry):
  model = Model(family=family, width=10, depth=2, dropout=0.1, carry=carry)
  return dataclasses.replace(
    run, model=model, data=dataclasses.replace(run.data, stream=carry), steps=13, checkpoint_every=5
  )


@pytest.mark.parametrize(("family", "carry"), [("rnn", False), ("gru", True), ("lstm", True)])
def test_a_recurrent_run_stopped_midway_ends_with_the_same_bits(run, data, tmp_path, family, carry):
  other = recurrent_of(run, family, carry)
  whole = loop.train(other, tmp_path / "whole", data)
  with pytest.raises(loop.Stopped):
    loop.train(other, tmp_path / "parts", data, StopAt(5))
  assert numbers(loop.train(other, tmp_path / "parts", data)) == numbers(whole)
  assert set(whole) == set(loop.train(dataclasses.replace(run, steps=1), tmp_path / "decoder", data))


def test_carrying_the_state_changes_what_is_learnt_and_its_evaluation(run, data, tmp_path):
  carried = recurrent_of(run, "lstm", True)
  forgetful = dataclasses.replace(carried, model=dataclasses.replace(carried.model, carry=False))
  one, other = (loop.train(each, tmp_path / str(each.model.carry), data) for each in (carried, forgetful))
  assert one["tokens"] == other["tokens"] and one["loss_tokens"] == other["loss_tokens"]
  assert one["loss"] != other["loss"]


def test_a_config_that_a_kill_tore_does_not_keep_a_run_from_starting(run, data, tmp_path):
  tiny = dataclasses.replace(run, steps=4, checkpoint_every=0)
  (tmp_path / "config.json").write_text("")
  result = loop.train(tiny, tmp_path, data)
  assert json.loads((tmp_path / "config.json").read_text())["steps"] == 4
  written = (tmp_path / "config.json").stat().st_mtime_ns
  assert loop.train(tiny, tmp_path, data) == result
  assert (tmp_path / "config.json").stat().st_mtime_ns == written, "what is right is not written again"
  with pytest.raises(UserError, match="another run"):
    loop.train(dataclasses.replace(tiny, seed=4), tmp_path, data)
