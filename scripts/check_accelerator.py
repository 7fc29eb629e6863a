"""Proves that this machine's GPU or TPU computes what a CPU does, and measures its speed, in at most five minutes.

  uv run --extra gpu scripts/check_accelerator.py
  uv run --extra tpu scripts/check_accelerator.py --json=check.json

Compares loss and gradient of each family with the CPU's, and fused with written-out attention. Measures the speed and
memory of a GPT-2 with 124 M parameters at 8 x 1,024 tokens. Generates text, stops and resumes a run, and trains a sweep
on all GPUs. Each check is a process of its own with a time limit: one that fails, hangs or crashes is a row of the
table. The exit code is 1 if any check failed, and 2 on a machine without an accelerator.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import json_report, outputs

if TYPE_CHECKING:
  from accelerator_checks import CheckRow

# Seconds of each check. Most of them is compilation: on an H200 GPT-2's step takes 43 s.
TIMED = {"attention": 50, "speed": 80}  # alone, because they measure time and memory
CORRECT = {"numerics": 180, "generation": 180, "resume": 180, "sweep": 180}
LIMITS = TIMED | CORRECT
DEVICE_SECONDS = 60  # to find out what devices there are: a driver may hang
TOTAL_SECONDS = 300.0
FAILED = 1  # exit code

JSON = outputs.DEFINE_json()
CHECK = flags.DEFINE_enum(
  "check", "", ["", "device", *LIMITS], "Run one check in this process and print its rows as JSON."
)
REFERENCE = outputs.DEFINE_file("reference", "", "Write this process's numbers of all families to this file.")


def main() -> int:
  """Runs all checks, or the one that a flag names; prints a table and writes JSON."""
  if REFERENCE.value:
    import accelerator_checks

    accelerator_checks.write_reference(
      Path(REFERENCE.value),
      {name: accelerator_checks.small_run(name) for name in accelerator_checks.FAMILIES},
    )
    return 0
  if CHECK.value:
    print(
      json.dumps(_device() if CHECK.value == "device" else [row._asdict() for row in run_check(CHECK.value)])
    )
    return 0
  began = time.monotonic()
  device = require_accelerator(ask("device", DEVICE_SECONDS))
  # A TPU serves one process at a time.
  rows = run_checks(began, at_once=len(CORRECT) if device["platform"] == "gpu" else 1)
  results = {"device": device, "seconds": time.monotonic() - began, "rows": rows}
  json_report.write_report(results, json_report.report_target(JSON.value))
  print("\n".join(table_lines(device, rows)))
  return FAILED if any(row["passed"] is False for row in rows) else 0


def run_checks(began: float, at_once: int) -> list[dict[str, Any]]:
  """Runs the timed checks one by one, then the others side by side.

  Args:
    began: monotonic time from which the five minutes count.
    at_once: checks that run side by side.
  """

  def run(name: str) -> list[dict[str, Any]]:
    left = TOTAL_SECONDS - (time.monotonic() - began)
    if at_once == 1 and name in CORRECT:  # a check that hangs leaves the others their share
      left /= len(CORRECT) - list(CORRECT).index(name)
    rows = rows_of(name, min(LIMITS[name], left))
    print(f"{name} done after {time.monotonic() - began:.0f} s", file=sys.stderr)
    return rows

  with futures.ThreadPoolExecutor(at_once) as pool:
    lists = [*map(run, TIMED), *pool.map(run, CORRECT)]
  return [row for rows in lists for row in rows]


def _device() -> dict[str, Any]:
  import jax

  devices = jax.devices()
  return {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)}


def require_accelerator(answer: Any) -> dict[str, Any]:
  """Returns the description of the device.

  Raises:
    UserError: if jax sees only a CPU, or does not answer.
  """
  remedy = "on a GPU start with `uv run --extra gpu scripts/check_accelerator.py`, on a TPU with --extra tpu"
  if isinstance(answer, str):
    raise UserError(f"jax does not say which devices this machine has: {answer}; {remedy}")
  device: dict[str, Any] = answer
  if device["platform"] == "cpu":
    raise UserError(f"this machine has no GPU or TPU that jax can use, so nothing was checked; {remedy}")
  return device


def run_check(name: str) -> "list[CheckRow]":
  """Runs one check in this process; what goes wrong is its row."""
  import accelerator_checks as checks

  with tempfile.TemporaryDirectory() as folder:
    calls: dict[str, Callable[[], list[CheckRow]]] = {
      "numerics": lambda: checks.check_numerics({name: checks.small_run(name) for name in checks.FAMILIES}),
      "attention": checks.check_attention,
      "speed": lambda: checks.check_speed(checks.gpt2_run()),
      "generation": checks.check_generation,
      "resume": lambda: checks.check_resume(Path(folder)),
      "sweep": lambda: checks.check_sweep(Path(folder)),
    }
    try:
      return calls[name]()
    except (
      Exception
    ) as error:  # Whatever the driver, the compiler or a kernel raises is what the check found.
      reason = (str(error).strip().splitlines() or [""])[0]
      text = reason if isinstance(error, UserError) else f"{type(error).__name__}: {reason}"
      return [checks.CheckRow(name, "failed", text, "", False)]


def ask(check: str, seconds: float, command: list[str] | None = None) -> Any:
  """Returns what a process of its own prints as JSON, or a sentence that says why it printed nothing.

  Args:
    check: value of `--check`.
    seconds: after which the process is killed with those that it started.
    command: another command, for tests.
  """
  # Processes side by side share the memory of the GPUs, and so do a sweep and its workers.
  environment = os.environ | ({"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if check in CORRECT else {})
  process = subprocess.Popen(
    command or [sys.executable, __file__, f"--check={check}"],
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
  )  # fmt: skip
  try:
    out, errors = process.communicate(timeout=max(1.0, seconds))
  except subprocess.TimeoutExpired:
    os.killpg(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    lines = errors.strip().splitlines()
    return f"no answer within {seconds:.0f} s" + (f"; its last line: {lines[-1]}" if lines else "")
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
    process.wait()
  with contextlib.suppress(ValueError, IndexError):
    return json.loads(out.strip().splitlines()[-1])
  last = (errors.strip().splitlines() or ["no reason given"])[-1]
  return f"ended with exit code {process.returncode}: {last}"


def rows_of(check: str, seconds: float, command: list[str] | None = None) -> list[dict[str, Any]]:
  """Returns the rows of a check with its time; a crash and a timeout are rows too."""
  begun = time.monotonic()
  if seconds <= 0:
    answer: Any = f"left out: the {TOTAL_SECONDS:.0f} s are over"
  else:
    answer = ask(check, seconds, command)
  if isinstance(answer, str):
    answer = [{"check": check, "quantity": "failed", "value": answer, "limit": "", "passed": False}]
  taken = time.monotonic() - begun
  return [row | {"check_seconds": round(taken, 1)} for row in answer]


def table_lines(device: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
  """Returns the table as lines of Markdown."""
  lines = [
    f"{device['count']} x {device['kind']} ({device['platform']})",
    "",
    "| check | quantity | value | limit | result |",
    "|---|---|---|---|---|",
  ]
  words = {True: "passed", False: "FAILED", None: ""}
  for row in rows:
    value = f"{row['value']:,.4g}" if isinstance(row["value"], float) else str(row["value"])
    lines.append(
      f"| {row['check']} | {row['quantity']} | {value} | {row['limit']} | {words[row['passed']]} |"
    )
  return lines


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
