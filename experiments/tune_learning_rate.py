"""Which learning rate suits which width and horizon? A rule measured on small runs and verified on a larger one.

  uv run experiments/tune_learning_rate.py
  uv run experiments/tune_learning_rate.py --config.data.batch=8 --workdir=runs/tune_batch_8

Trains every width of every horizon at multiples of the config's rule (`config.learning_rate_multipliers`), fits a
rule through the best of
each, and trains the held-out width and horizon at the new rule's rate and at half and twice it. Prints the fields of a
config that hold the rule, and whether it passed. Stop it whenever you like: the same command goes on.
"""

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen.cli import environment, launch
from gen.config import Sweep
from gen.errors import UserError
from gen.io import outputs, strict_json
from gen.scaling.workers import executors

if TYPE_CHECKING:
  from rich.console import Console

  from gen.scaling.sweeps.learning_rate_rule import LearningRateRule
  from gen.scaling.workers.study import TrainedStudy

WORKDIR = outputs.DEFINE_folder("workdir", "", "Folder of the runs; empty: runs/NAME.")
JSON = outputs.DEFINE_json()

executors.define_flags()

AROUND = (0.5, 1.0, 2.0)  # multiples of the rule's rate where it is verified
FAILED = 1  # exit code: some runs have no result


def main(sweep: Sweep) -> int:
  """Trains, fits, verifies, prints and writes the rule; returns the exit code."""
  from gen.scaling.sweeps import design

  if len(sweep.learning_rate_multipliers) < 3:
    raise UserError(
      f"config.learning_rate_multipliers is {sweep.learning_rate_multipliers}; "
      "three are the least that can enclose a best rate"
    )
  if len(sweep.held_out_widths) > 1:
    raise UserError(f"config.held_out_widths is {sweep.held_out_widths}; a rule is verified at one width")
  design.check_sweep(sweep)
  executor = executors.executor_from_flags()
  from rich.console import Console

  from gen.data import cache
  from gen.io.locks import FolderLock

  folder = Path(WORKDIR.value or f"runs/{sweep.name or 'tune_learning_rate'}")
  console = Console(highlight=False, soft_wrap=True)
  with FolderLock(folder):
    environment.compilation_cache(cache.cache_folder(sweep.data) / "compiled")
    return _tune(console, sweep, folder, executor)


def _tune(console: "Console", sweep: Sweep, folder: Path, executor: executors.RunExecutor) -> int:
  from gen.scaling.sweeps import learning_rate_rule
  from gen.scaling.workers import study

  grid = dataclasses.replace(sweep, held_out=0.0, held_out_widths=())
  trained = study.train_study(grid, folder / "grid", console, executor=executor)
  failed = dict(trained.failed)
  if trained.interrupted:
    return _interrupted(console, trained, folder)
  rule = learning_rate_rule.fit_rule(
    learning_rate_rule.measured_cells(trained.results), sweep.rate_width, sweep.rate_steps
  )
  _print(console, rule)
  verified: dict[str, Any] | None = None
  if sweep.held_out:
    trained = study.train_study(_largest(rule.of(sweep)), folder / "verified", console, executor=executor)
    if trained.interrupted:
      return _interrupted(console, trained, folder)
    failed |= trained.failed
    verified = learning_rate_rule.verify_rule(rule, trained.results)
    _say(console, verified)
  _write(folder / "learning_rate.json", rule, verified)
  console.print(f"\nwritten: {folder / 'learning_rate.json'}")
  for name, why in failed.items():
    console.print(f"{name} has no result: {why}")
  return FAILED if failed else 0


def _largest(sweep: Sweep) -> Sweep:
  """Returns the study of the held-out width and horizon at the rule's rate and around it."""
  return dataclasses.replace(
    sweep,
    budgets=(sweep.held_out,),
    widths=(sweep.held_out_widths,),
    batches=sweep.batches[-1:],
    seeds=sweep.seeds[-1:],
    learning_rate_multipliers=AROUND,
    held_out=0.0,
    held_out_widths=(),
  )


def _print(console: "Console", rule: "LearningRateRule") -> None:
  for cell in rule.cells:
    tried = ", ".join(f"{rate:.3g}: {loss:.4f}" for rate, loss in zip(cell.rates, cell.losses, strict=True))
    best = (
      "at the edge"
      if cell.at_edge
      else f"best {cell.best:.3g}, the rule says {rule(cell.width, cell.steps):.3g}"
    )
    console.print(f"width {cell.width}, {cell.steps} steps: {tried}; {best}")
  for text in rule.warnings:
    console.print(f"warning: {text}")
  console.print("\nThe rule, as fields to set:")
  console.print("  " + " ".join(f"--config.{name}={value:g}" for name, value in rule.fields().items()))
  for name, (low, high) in rule.intervals.items():
    console.print(f"  {name} in [{low:.3g}, {high:.3g}], 90 %")
  if rule.scatter is not None:
    console.print(f"  the best rates scatter about it by {100 * rule.scatter:.0f} % (sd)")


def _say(console: "Console", verified: dict[str, Any]) -> None:
  tried = ", ".join(
    f"{rate:.3g}: {loss:.4f}" for rate, loss in zip(verified["rates"], verified["losses"], strict=True)
  )
  best = "not enclosed" if verified["best"] is None else f"{verified['best']:.3g}"
  console.print(
    f"\nverified at width {verified['width']}, {verified['steps']} steps: {tried}; the rule says "
    f"{verified['rule']:.3g}, the best is {best}; the rule costs {verified['cost']:.4f} nats, limit "
    f"{verified['limit']:g}: {'passed' if verified['passed'] else 'NOT PASSED'}"
  )


def _write(path: Path, rule: "LearningRateRule", verified: dict[str, Any] | None) -> None:
  from gen import versions
  from gen.io import json_report
  from gen.io.checksums import write_atomically

  found = dataclasses.asdict(rule) | {"fields": rule.fields(), "verified": verified}
  plain = json.loads(
    strict_json.encode_json(found | {"versions": versions.installed_versions()})
  )  # NaN becomes null
  try:
    write_atomically(path, json.dumps(plain, indent=1).encode())
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror}; the runs are done and kept") from error
  json_report.write_report(plain, json_report.report_target(JSON.value))


def _interrupted(console: "Console", trained: "TrainedStudy", folder: Path) -> int:
  done = f"{len(trained.results)} of {len(trained.runs)} runs of this part are done, all is saved in {folder}"
  console.print(f"stopped; {done}; to go on: uv run {shlex.join(sys.argv)}")
  return launch.INTERRUPTED


if __name__ == "__main__":
  launch.run_experiment(main, Sweep, "configs/tune_learning_rate.py")
