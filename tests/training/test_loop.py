"""A run resumes bit for bit, whatever stopped it, and says in one sentence what it cannot do."""

import dataclasses
import json
import math
import signal
import threading
import time

import numpy as np
import pytest

from gen.config import Model, Optimizer
from gen.errors import UserError
from gen.io import locks
from gen.scaling.sweeps import trunk_sweeps
from gen.training import hooks, loop, trunks
from gen.training.checkpointing import checkpoint_folder, checkpoints
from gen.training.run_folders import run_length
from gen.training.run_log import journal
from tests import programs
from tests.tiny_run import StopAt, without_clocks

pytestmark = pytest.mark.optimized  # a stop, a dispatch or a trunk changes no bit


@pytest.fixture(scope="module")
def whole(run, trained):
  folder, result = trained(run)
  return result, journal.read_journal(folder / "journal.jsonl")


def test_a_stopped_run_ends_with_the_same_bits_as_one_that_was_not(run, data, whole, tmp_path):
  for stop_at in (5, 20):
    with pytest.raises(loop.RunStopped):
      loop.train_run(run, tmp_path, data, StopAt(stop_at))
  result = loop.train_run(run, tmp_path, data)
  assert without_clocks(result) == without_clocks(whole[0])


def test_a_resumed_journal_holds_each_row_once_with_the_same_losses(run, data, whole, tmp_path):
  with pytest.raises(loop.RunStopped):
    loop.train_run(run, tmp_path, data, StopAt(15))
  loop.train_run(run, tmp_path, data)

  def losses(rows):
    return [(row["step"], row["loss"], row["gradient_norm"]) for row in rows if row["kind"] == "train"]

  assert losses(journal.read_journal(tmp_path / "journal.jsonl")) == losses(whole[1])


@pytest.mark.slow
@pytest.mark.parametrize("dispatch", [7, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 64))])
def test_steps_per_dispatch_do_not_change_a_bit(run, data, whole, tmp_path, dispatch):
  other = dataclasses.replace(run, steps_per_dispatch=dispatch)
  result = loop.train_run(other, tmp_path, data)
  assert (result.loss, result.train_loss) == (whole[0].loss, whole[0].train_loss)


def test_a_finished_run_is_never_trained_again(run, data, copied):
  folder, first = copied(run)

  class Fails(loop.NoHooks):
    def progress(self, row):
      raise AssertionError(f"trained again: {row}")

  assert loop.train_run(run, folder, data, Fails()) == first


KILLED = """
import dataclasses, json, sys
from gen.config import Run, from_dict
from gen.data import dataset
from gen.io import typed_json
from gen.training import loop
run = from_dict(Run, json.loads(sys.argv[1]))
result = loop.train_run(run, sys.argv[2], dataset.load_dataset(run.data))
print(json.dumps(typed_json.encode_record(result)))
"""


@pytest.mark.slow
def test_a_run_killed_in_mid_flight_ends_with_the_same_bits(run, whole, tmp_path):
  # Long enough for the kill to fall between checkpoints, and compared with its own uninterrupted twin.
  folder = tmp_path / "run"
  command = ["-c", KILLED, json.dumps(dataclasses.asdict(run)), folder]
  with (tmp_path / "printed").open("w") as printed:
    process = programs.start(command, printed, printed)
  deadline = time.time() + 120
  while time.time() < deadline and process.poll() is None:
    steps = folder / "checkpoints"
    if steps.exists() and any(path.name.isdigit() for path in steps.iterdir()):
      break
    time.sleep(0.005)
  process.send_signal(signal.SIGKILL)
  process.wait()
  finished = programs.run(command)
  assert finished.returncode == 0, finished.stderr
  assert without_clocks(json.loads(finished.stdout)) == without_clocks(whole[0])


def test_the_result_counts_what_was_trained(whole, run):
  result = whole[0]
  assert result.tokens == 37 * 3 * 24
  assert 0 < result.loss_tokens < result.tokens  # the begins of documents bear no loss
  assert result.flops == result.tokens * result.flops_per_token
  assert result.params_total == sum(result.params_by_group.values())
  assert math.isclose(result.flops_6nd, 6 * result.params * result.tokens)
  assert result.loss < math.log(260)


@pytest.mark.parametrize("field", ["tokens", "flops"])
def test_a_horizon_in_tokens_or_flops_is_as_many_steps(run, field):
  model = dataclasses.replace(run.model, vocab=260, context=24)
  of_steps = dataclasses.replace(run, model=model)
  per_step = 72 if field == "tokens" else 72 * loop.counts.flops_per_token(model, 24)
  other = dataclasses.replace(of_steps, steps=0, **{field: 11.2 * per_step})
  assert loop.count_steps(other) == 11


def test_a_horizon_of_less_than_a_step_is_refused(run):
  model = dataclasses.replace(run.model, vocab=260)
  with pytest.raises(UserError, match="less than one step of 72 tokens"):
    loop.count_steps(dataclasses.replace(run, model=model, steps=0, tokens=10.0))


def test_a_folder_of_another_run_is_refused_with_the_fields_that_differ(run, data, tmp_path):
  loop.train_run(dataclasses.replace(run, steps=3), tmp_path, data)
  other = dataclasses.replace(run, steps=3, model=dataclasses.replace(run.model, width=18))
  with pytest.raises(UserError, match=r"model\.width: 12 -> 18"):
    loop.train_run(other, tmp_path, data)


def test_another_tokenizer_at_resumption_is_refused(run, data, tmp_path):
  with pytest.raises(loop.RunStopped):
    loop.train_run(run, tmp_path, data, StopAt(10))
  other = data._replace(tokenizer=_Renamed(data.tokenizer))
  with pytest.raises(UserError, match="tokenizer"):
    loop.train_run(run, tmp_path, other)


class _Renamed:
  """A tokenizer like another, under another hash."""

  def __init__(self, tokenizer):
    self._tokenizer, self.hash = tokenizer, "0000000000000000"

  def __getattr__(self, name):
    return getattr(self._tokenizer, name)


@pytest.mark.slow
def test_too_many_steps_that_are_not_finite_end_the_run_and_name_the_checkpoint(run, data, tmp_path):
  wild = dataclasses.replace(
    run,
    optimizer=Optimizer(
      peak_learning_rate=1e6, weight_decay=1e6, schedule="constant", warmup=0.5, clip=0.0, max_skipped_steps=2
    ),
    checkpoint_every=1,
    log_every=1,
  )
  with pytest.raises(UserError, match=r"not finite by step \d+; the last checkpoint is step \d+ in"):
    loop.train_run(wild, tmp_path, data)


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused(run, data, tmp_path):
  small = dataclasses.replace(run, model=dataclasses.replace(run.model, vocab=100))
  with pytest.raises(UserError, match="less than the 260 ids"):
    loop.train_run(small, tmp_path, data)


def test_evaluations_appear_where_they_were_asked_for(run, data, tmp_path):
  loop.train_run(dataclasses.replace(run, steps=12, evaluate_every=5), tmp_path, data)
  rows = [row for row in journal.read_journal(tmp_path / "journal.jsonl") if row["kind"] == "evaluation"]
  assert [row["step"] for row in rows] == [5, 10, 12]
  assert all(row["bits_per_byte"] > 0 for row in rows)


def recurrent_of(run, family, carry):
  model = Model(family=family, width=10, depth=2, dropout=0.1, carry=carry)
  return dataclasses.replace(
    run, model=model, data=dataclasses.replace(run.data, stream=carry), steps=13, checkpoint_every=5
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("family", "carry"),
  [
    ("lstm", True),
    *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (("rnn", False), ("gru", True))),
  ],
)
def test_a_recurrent_run_stopped_midway_ends_with_the_same_bits(run, data, tmp_path, family, carry):
  other = recurrent_of(run, family, carry)
  whole = loop.train_run(other, tmp_path / "whole", data)
  with pytest.raises(loop.RunStopped):
    loop.train_run(other, tmp_path / "parts", data, StopAt(5))
  assert without_clocks(loop.train_run(other, tmp_path / "parts", data)) == without_clocks(whole)
  decoder = loop.train_run(dataclasses.replace(run, steps=1), tmp_path / "decoder", data)
  assert without_clocks(whole).keys() == without_clocks(decoder).keys()


@pytest.mark.slow
def test_carrying_the_state_changes_what_is_learnt_and_its_evaluation(run, data, tmp_path):
  carried = recurrent_of(run, "lstm", True)
  forgetful = dataclasses.replace(carried, model=dataclasses.replace(carried.model, carry=False))
  one, other = (loop.train_run(each, tmp_path / str(each.model.carry), data) for each in (carried, forgetful))
  assert one.tokens == other.tokens and one.loss_tokens == other.loss_tokens
  assert one.loss != other.loss


def test_a_config_that_a_kill_tore_does_not_keep_a_run_from_starting(run, data, tmp_path):
  tiny = dataclasses.replace(run, steps=4, checkpoint_every=0)
  (tmp_path / "config.json").write_text("")
  result = loop.train_run(tiny, tmp_path, data)
  assert json.loads((tmp_path / "config.json").read_text())["steps"] == 4
  written = (tmp_path / "config.json").stat().st_mtime_ns
  assert loop.train_run(tiny, tmp_path, data) == result
  assert (tmp_path / "config.json").stat().st_mtime_ns == written, "what is right is not written again"
  with pytest.raises(UserError, match="another run"):
    loop.train_run(dataclasses.replace(tiny, seed=4), tmp_path, data)


# Runs that share a trunk. They are here, not in a file of their own, because they share the compiled step too.
SHORT, LONG = 23, 40  # steps of the branches, of which the last fifth decays


@pytest.fixture(scope="module")
def runs(run, data):
  """A short and a long run that differ in their horizon alone, of one trunk."""
  step = run_length.flops_per_row(run_length.complete_run(run, data)) * run.data.batch
  made = []
  for name, steps in (("short", SHORT), ("long", LONG)):
    one = dataclasses.replace(run, name=name, steps=0, flops=steps * step, checkpoint_every=6)
    one.optimizer = dataclasses.replace(run.optimizer)
    trunk_sweeps.join_trunk(one, "trunk", step, [SHORT * step, LONG * step], [SHORT * step, LONG * step])
    made.append(one)
  return made


@pytest.fixture(scope="module")
def alone(runs, data, tmp_path_factory):
  """Result and parameters of each run, trained in one go."""
  found = {}
  for run in runs:
    folder = tmp_path_factory.mktemp("alone")
    found[run.name] = loop.train_run(run, folder, data), state_of(folder)
  return found


def state_of(folder):
  step = checkpoint_folder.complete_steps(folder / "checkpoints")[-1]
  names = checkpoint_folder.read_record(folder / "checkpoints", step)["tree"]
  return {name: checkpoint_folder.read_array(folder / "checkpoints", step, name) for name in names}


def same(result, folder, alone):
  numbers_alone, state = alone
  for name in set(without_clocks(result)) - {"flops_spent", "trunk", "config"}:
    assert getattr(result, name) == getattr(numbers_alone, name), name
  found = state_of(folder)
  assert found.keys() == state.keys() and len(found) > 10
  for name, array in found.items():
    np.testing.assert_array_equal(array, state[name], err_msg=name)


class Told(hooks.NoHooks):
  """Hears of steps; stops at one of a kind of row."""

  def __init__(self, kind="", at=0):
    self.kind, self.at, self.rows = kind, at, []

  def progress(self, row):
    self.rows.append(row)

  def stop(self):
    return any(row["kind"] == self.kind and row.get("step", 0) >= self.at for row in self.rows)

  def starts(self, kind):
    return [row["step"] for row in self.rows if row["kind"] == kind and "learning_rate" in row]


@pytest.mark.parametrize("order", [(1, 0), (0, 1)])
def test_branches_are_the_runs_that_train_trunk_and_decay_in_one_go(runs, data, alone, tmp_path, order):
  results = {}
  for run in (runs[i] for i in order):
    results[run.name] = trunks.train_branch(run, tmp_path / run.name, data)
    same(results[run.name], tmp_path / run.name, alone[run.name])
  for run, steps in zip(runs, (SHORT, LONG), strict=True):
    result = results[run.name]
    assert result.flops == pytest.approx(run.flops) and result.trunk == "trunk"
    assert result.flops_spent == pytest.approx(run.flops * round(steps / 5) / steps)
  trunk = journal.read_journal(tmp_path / "trunk" / "journal.jsonl")
  assert [row["step"] for row in trunk if row["kind"] == "train"] == [5, 10, 15, 18, 20, 25, 30, 32]
  assert len({row["learning_rate"] for row in trunk if row["kind"] == "train"}) == 1, "it never decays"


def test_a_trunk_or_branch_that_was_stopped_goes_on_with_the_same_bits_and_takes_no_step_twice(
  runs, data, alone, tmp_path
):
  short, long = runs
  told = []
  for kind, at in (("trunk", 10), ("trunk", 25), ("train", 35), ("", 0)):
    told.append(Told(kind, at))
    if kind:
      with pytest.raises(hooks.RunStopped):
        trunks.train_branch(long, tmp_path / "long", data, told[-1])
    else:
      result = trunks.train_branch(long, tmp_path / "long", data, told[-1])
  same(result, tmp_path / "long", alone["long"])
  assert result.flops_spent == pytest.approx(long.flops / 5)
  steps = [step for one in told for kind in ("trunk", "train") for step in one.starts(kind)]
  assert steps == sorted(set(steps)), "each row once"
  told = Told()
  same(trunks.train_branch(short, tmp_path / "short", data, told), tmp_path / "short", alone["short"])
  assert told.starts("trunk") == [] and min(told.starts("train")) > 18


class Dies(Told):
  """Ends the run without a word, as a kill would, when a row of a step is written."""

  def progress(self, row):
    super().progress(row)
    if super().stop():
      raise RuntimeError("killed")

  def stop(self):
    return False


def test_a_run_killed_in_its_trunk_and_in_its_decay_repeats_less_than_a_save_interval(
  runs, data, alone, tmp_path
):
  long, told = runs[1], []
  for kind, at in (("trunk", 20), ("train", 40)):
    told.append(Dies(kind, at))
    with pytest.raises(RuntimeError, match="killed"):
      trunks.train_branch(long, tmp_path / "long", data, told[-1])
  told.append(Told())
  result = trunks.train_branch(long, tmp_path / "long", data, told[-1])
  same(result, tmp_path / "long", alone["long"])
  assert [one.starts("trunk") for one in told] == [[5, 10, 15, 18, 20], [20, 25, 30, 32], []]
  assert [one.starts("train") for one in told] == [[], [35, 40], [40]], "saved at 18 and 36 before that"


def test_a_branch_that_the_trunk_kept_nothing_for_begins_at_an_earlier_state(runs, data, alone, tmp_path):
  short, long = runs
  unknown = dataclasses.replace(long, branches=long.branches[1:], keep_checkpoints=3)
  trunks.train_branch(unknown, tmp_path / "long", data)
  assert checkpoint_folder.complete_steps(tmp_path / "trunk" / "checkpoints") == [24, 30, 32]
  result = trunks.train_branch(short, tmp_path / "short", data)
  same(result, tmp_path / "short", alone["short"])
  assert result.flops_spent == result.flops, "all its own"


def test_a_run_waits_for_a_trunk_that_another_trains_until_its_own_branch(runs, data, alone, tmp_path):
  short, long = runs
  with locks.FolderLock(tmp_path / "trunk"):
    with pytest.raises(hooks.RunStopped, match="while another run trained"):
      trunks.train_branch(short, tmp_path / "short", data, Told("start"))
    found = []
    waits = threading.Thread(
      target=lambda: found.append(trunks.train_branch(short, tmp_path / "short", data))
    )
    waits.start()
    own = dataclasses.replace(run_length.complete_run(long, data), name="trunk")
    with (
      journal.Journal(tmp_path / "trunk" / "journal.jsonl") as rows,
      checkpoints.Checkpoints(tmp_path / "trunk" / "checkpoints", keep_steps={18}) as saved,
    ):
      loop.TrainingRun(own, data, rows, saved, hooks.NoHooks()).advance(18, {18})
    waits.join(120)  # The lock is still held: what it waited for is the state.
    assert not waits.is_alive()
  same(found[0], tmp_path / "short", alone["short"])


def test_the_trunk_of_other_runs_is_refused(runs, data, tmp_path):
  trunks.train_branch(runs[0], tmp_path / "short", data)
  other = dataclasses.replace(
    runs[1], optimizer=dataclasses.replace(runs[1].optimizer, peak_learning_rate=0.02)
  )
  with pytest.raises(
    UserError, match=r"trunk is the trunk of other runs \(optimizer.peak_learning_rate: 0.01 -> 0.02\)"
  ):
    trunks.train_branch(other, tmp_path / "long", data)
