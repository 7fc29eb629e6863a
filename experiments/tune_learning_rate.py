"""Which learning rate suits which width and horizon? A rule measured on small runs and verified on a larger one.

  uv run experiments/tune_learning_rate.py
  uv run experiments/tune_learning_rate.py --config.data.batch=8 --workdir=runs/tune_batch_8

Trains every width and horizon at multiples of the config's rule (`config.learning_rate_multipliers`) and fits a rule
through the best rates. Then it trains the held-out width and horizon at the new rule's rate, at half and at twice it.
Prints the config fields that hold the rule, and whether it passed. The same command resumes a run that was stopped.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from gen.cli import environment, launch, shared_flags
from gen.config import Sweep
from gen.errors import UserError
from gen.io import outputs
from gen.scaling.workers import executors

if TYPE_CHECKING:
  from rich.console import Console

  from gen.scaling.sweeps.learning_rate_rule import LearningRateRule, RuleCheck

WORKDIR = shared_flags.define_workdir("Folder of the runs; empty: runs/NAME.")
JSON = outputs.DEFINE_json()

executors.define_flags()

VERIFIED_MULTIPLES = (0.5, 1.0, 2.0)  # of the rule's rate: the fewest that can enclose the best rate
MIN_MULTIPLIERS = 3  # the fewest rates that can enclose a best one
FAILED = 1  # exit code: some runs have no result


def main(sweep: Sweep) -> int:
  """Trains, fits, verifies, prints and writes the rule; returns the exit code."""
  from gen.scaling.sweeps import design

  if len(sweep.learning_rate_multipliers) < MIN_MULTIPLIERS:
    raise UserError(
      f"config.learning_rate_multipliers is {sweep.learning_rate_multipliers}; "
      f"give at least {MIN_MULTIPLIERS}, so that they can enclose a best rate"
    )
  if len(sweep.held_out_widths) > 1:
    raise UserError(f"config.held_out_widths is {sweep.held_out_widths}; a rule is verified at one width")
  design.check_sweep(sweep)
  executor = executors.executor_from_flags()
  from rich.console import Console

  from gen.data import cache
  from gen.io.locks import FolderLock
  from gen.scaling.workers import sweep_dtype

  folder = Path(WORKDIR.value or f"runs/{sweep.name or 'tune_learning_rate'}")
  console = Console(highlight=False, soft_wrap=True)
  if line := sweep_dtype.set_default_dtype(sweep, folder / "grid", executor):
    console.print(line)
  with FolderLock(folder):
    environment.compilation_cache(cache.cache_folder(sweep.data) / "compiled")
    return _tune(console, sweep, folder, executor)


def _tune(console: "Console", sweep: Sweep, folder: Path, executor: executors.RunExecutor) -> int:
  from gen.scaling.sweeps import learning_rate_rule, rule_summary
  from gen.scaling.workers import study

  grid = dataclasses.replace(sweep, held_out=0.0, held_out_widths=())
  trained = study.train_study(grid, folder / "grid", console, executor=executor)
  failed = dict(trained.failed)
  if trained.interrupted:
    console.print(launch.stop_line(len(trained.results), len(trained.runs), folder / "grid"))
    return launch.INTERRUPTED
  rule = learning_rate_rule.fit_rule(
    learning_rate_rule.measured_cells(trained.results), sweep.rate_width, sweep.rate_steps
  )
  console.print("\n".join(rule_summary.rule_lines(rule)))
  verified: RuleCheck | None = None
  if sweep.held_out:
    largest = learning_rate_rule.held_out_sweep(rule.of(sweep), VERIFIED_MULTIPLES)
    trained = study.train_study(largest, folder / "verified", console, executor=executor)
    if trained.interrupted:
      console.print(launch.stop_line(len(trained.results), len(trained.runs), folder / "verified"))
      return launch.INTERRUPTED
    failed |= trained.failed
    verified = learning_rate_rule.verify_rule(rule, trained.results)
    console.print(f"\n{rule_summary.verification_line(verified)}")
  _write(folder / "learning_rate.json", rule, verified)
  console.print(f"\nwritten: {folder / 'learning_rate.json'}")
  for name, reason in failed.items():
    console.print(f"{name} has no result: {reason}")
  return FAILED if failed else 0


def _write(path: Path, rule: "LearningRateRule", verified: "RuleCheck | None") -> None:
  from gen import versions
  from gen.io import json_report

  results = dataclasses.asdict(rule) | {"fields": rule.fields()}
  results["verified"] = None if verified is None else dataclasses.asdict(verified)
  results["versions"] = versions.installed_versions()
  json_report.write_study(results, path, json_report.report_target(JSON.value))


if __name__ == "__main__":
  launch.run_experiment(main, Sweep, "configs/tune_learning_rate.py")
