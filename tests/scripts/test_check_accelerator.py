"""Each check of an accelerator works on a CPU with tiny sizes, and what goes wrong is a row of the table."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags

from gen.config import Data, Model, Run
from gen.errors import UserError
from tests import programs

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "check_accelerator.py"


@pytest.fixture(scope="module")
def checks():
  sys.path.insert(0, str(ROOT / "scripts"))  # as for a script that is run
  import accelerator_checks

  yield accelerator_checks
  sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def driver(checks):
  spec = importlib.util.spec_from_file_location("check_accelerator_under_test", SCRIPT)
  module = importlib.util.module_from_spec(spec)
  # The worker's other tests define flags of the same names.
  others = {name: flags.FLAGS[name] for name in ("json", "check", "reference") if name in flags.FLAGS}
  for name in others:
    delattr(flags.FLAGS, name)
  before = set(flags.FLAGS)
  spec.loader.exec_module(module)
  yield module
  for name in set(flags.FLAGS) - before:
    delattr(flags.FLAGS, name)
  for name, flag in others.items():
    flags.FLAGS[name] = flag


@pytest.mark.parametrize("family", ["decoder", "lstm"])
def test_numerics_of_a_cpu_agree_with_themselves(checks, family):
  runs = {family: checks.small_run(family, width=12, length=24)}
  rows = checks.check_numerics(runs, checks.write_reference)
  assert [row.quantity for row in rows] == [
    f"{family} {dtype} {what}, error" for dtype in ("float32", "bfloat16") for what in ("loss", "gradient")
  ]
  assert all(row.passed for row in rows), rows
  assert rows[0].value < 1e-6 < rows[3].value, "bfloat16 must differ, or it was not used"


def test_a_wrong_gradient_fails(checks):
  def wrong(path, runs):
    checks.write_reference(path, runs)
    arrays = dict(np.load(path))
    arrays["lstm/gradient"] = arrays["lstm/gradient"] * 1.1
    np.savez(path, **arrays)

  rows = checks.check_numerics({"lstm": checks.small_run("lstm", width=10, length=20)}, wrong)
  assert [row.passed for row in rows] == [True, False, True, False]


def test_speed_has_tokens_and_flops_but_no_mfu_and_no_live_memory_on_a_cpu(checks):
  model = Model(width=12, depth=1, heads=3, head_width=4, vocab=40, context=20)
  run = Run(model=model, data=Data(length=20, batch=3), steps=20, steps_per_dispatch=2)
  values = {row.quantity: row.value for row in checks.check_speed(run, dispatches=2)}
  assert values["tokens per second"] > 0 and values["predicted peak, GB"] > 0
  assert "no peak is known for cpu" in values["MFU"] and "does not report" in values["live peak"]


@pytest.mark.parametrize(("share", "passed"), [(1.1, True), (2.0, False)])
def test_live_memory_is_compared_with_the_predicted(checks, monkeypatch, share, passed):
  model = Model(width=12, depth=1, heads=3, head_width=4, vocab=40, context=20)
  run = Run(model=model, data=Data(length=20, batch=3), steps=20, steps_per_dispatch=2)
  predicted = checks.memory.run_footprint(run).peak
  device = type(
    "Device",
    (),
    {"device_kind": "TPU v4", "memory_stats": lambda self: {"peak_bytes_in_use": predicted * share}},
  )
  monkeypatch.setattr(checks.jax, "local_devices", lambda: [device()])
  assert checks.check_speed(run, dispatches=1)[-1].passed is passed


def test_the_run_whose_speed_is_measured_is_gpt2(checks):
  run = checks.gpt2_run()
  assert (run.model.width, run.model.depth, run.data.batch, run.data.length) == (768, 12, 8, 1024)
  assert run.model.dtype == "bfloat16" and run.model.attention == "auto"


def test_generated_tokens_are_those_of_a_forward_pass(checks):
  rows = checks.check_generation(width=32, tokens=9)
  assert rows[0].value == 1.0 and rows[0].passed and rows[1].value > 0


def test_a_resumed_run_ends_as_one_that_never_stopped(checks, tmp_path):
  (row,) = checks.check_resume(tmp_path, width=32, steps=8)
  assert row.value == 0.0 and row.passed
  journal = (tmp_path / "halves" / "journal.jsonl").read_text().splitlines()
  assert "resume" in [json.loads(line)["kind"] for line in journal]


def test_attention_without_a_kernel_is_a_row(driver, monkeypatch):
  monkeypatch.setattr("accelerator_checks.check_attention.__defaults__", (128, 16, 2))  # tiny, to fail sooner
  (row,) = driver.run_check("attention")
  assert row.passed is False and "there is no attention kernel for a cpu" in row.value


def test_a_sweep_on_gpus_is_left_out_where_there_are_none(checks, tmp_path):
  (row,) = checks.check_sweep(tmp_path)
  assert row.passed is None and "left out" in row.value


@pytest.mark.parametrize(
  ("program", "words"),
  [
    ("import time; time.sleep(60)", "no answer within 1 s"),
    (
      "import sys, time; print('compiling', file=sys.stderr, flush=True); time.sleep(60)",
      "s last line: compiling",
    ),
    ("import os; os.abort()", "ended with exit code -6"),
    ("raise RuntimeError('the driver is too old')", "exit code 1: RuntimeError: the driver is too old"),
    ("print('no json')", "exit code 0"),
  ],
)
def test_a_check_that_hangs_or_crashes_is_a_row(driver, program, words):
  (row,) = driver.rows_of("speed", 1.0 if "sleep" in program else 30.0, [sys.executable, "-c", program])
  assert words in row["value"] and row["passed"] is False and row["check"] == "speed"


def test_a_check_after_the_last_second_is_left_out(driver):
  (row,) = driver.rows_of("sweep", -3.0)
  assert "the 300 s are over" in row["value"] and row["passed"] is False


@pytest.mark.parametrize("at_once", [1, 4])
def test_checks_that_use_up_their_limits_end_within_five_minutes(driver, monkeypatch, at_once):
  clock = {"timed": 0.0, "side": 0.0}

  def use_up(name, seconds):
    if name in driver.TIMED or at_once == 1:
      clock["timed"] += seconds
    else:
      clock["side"] = max(clock["side"], seconds)
    return [{"check": name, "limit": seconds}]

  monkeypatch.setattr(driver, "rows_of", use_up)
  monkeypatch.setattr(driver.time, "monotonic", lambda: clock["timed"])
  rows = driver.run_checks(0.0, at_once)
  assert [row["check"] for row in rows] == list(driver.LIMITS)
  assert sum(clock.values()) <= driver.TOTAL_SECONDS and min(row["limit"] for row in rows) >= 40


def test_the_table_shows_numbers_limits_and_results(driver, checks):
  rows = [
    checks.CheckRow("speed", "tokens per second", 123456.7)._asdict(),
    checks.CheckRow("numerics", "loss, error", 2.5e-7, "<= 1e-05", True)._asdict(),
    checks.CheckRow("attention", "failed", "no kernel", "", False)._asdict(),
  ]
  lines = driver.table_lines({"count": 2, "kind": "NVIDIA H200", "platform": "gpu"}, rows)
  assert lines[0] == "2 x NVIDIA H200 (gpu)"
  assert lines[4:] == [
    "| speed | tokens per second | 1.235e+05 |  |  |",
    "| numerics | loss, error | 2.5e-07 | <= 1e-05 | passed |",
    "| attention | failed | no kernel |  | FAILED |",
  ]


@pytest.mark.parametrize("answer", [{"platform": "cpu", "kind": "cpu", "count": 1}, "no answer within 60 s"])
def test_a_machine_without_an_accelerator_is_one_sentence(driver, answer):
  with pytest.raises(UserError, match=r"--extra gpu scripts/check_accelerator\.py"):
    driver.require_accelerator(answer)


def test_on_a_cpu_the_script_says_so_and_exits_with_2():
  done = programs.run([SCRIPT])
  assert done.returncode == 2 and done.stdout == ""
  assert len(done.stderr.strip().splitlines()) == 1 and "no GPU or TPU" in done.stderr


def test_the_cpu_numbers_are_written_by_another_process(checks, tmp_path):
  model = dataclasses.replace(checks.small_run("lstm").model)
  checks.write_reference_elsewhere(tmp_path / "reference.npz", {})
  arrays = np.load(tmp_path / "reference.npz")
  assert {name.split("/")[0] for name in arrays} == set(checks.FAMILIES)
  shapes = jax.tree.leaves(checks.language_model.parameter_shapes(model))
  assert sum(name.startswith("lstm/") for name in arrays) == len(shapes) + 2
