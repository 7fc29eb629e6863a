"""Which weights of my corpora make a model good at a target text? A law measured on small runs, and checked.

  uv run experiments/tune_mixture.py --target=law
  uv run experiments/tune_mixture.py --config.data.mixture=manual=1,law=1,notes/=1 --target=mine.txt --workdir=runs/mine

Trains small models on designed mixtures of the corpora: each alone, each pair, all, and random ones. Fits a law of the
loss on the target (data mixing laws, arXiv:2403.16952) and finds the weights of least loss with intervals. Then it
trains at these weights and at equal ones, with other seeds, at the held-out budget if the config has one. The target is
one of the corpora or another text, which is only evaluated. The same command resumes a study that was stopped.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gen.cli import environment, launch, shared_flags
from gen.config import Sweep
from gen.errors import name_flag
from gen.io import outputs, quantities
from gen.scaling.workers import executors

if TYPE_CHECKING:
  from rich.console import Console

  from gen.scaling.mixtures.mixture_study import MixtureStudy

WORKDIR = shared_flags.define_workdir("Folder of the runs; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
TARGET = flags.DEFINE_string(
  "target", "", "Text whose loss is to be low: a corpus of data.mixture, or another."
)
INTERIOR = quantities.DEFINE_integer("interior", 6, "Random mixtures of all.", lower_bound=0, upper_bound=999)

executors.define_flags()

FAILED = 1  # exit code: some runs have no result


def main(sweep: Sweep) -> int:
  """Trains, fits, proposes, checks, prints and writes; returns the exit code."""
  from gen.scaling.mixtures import mixture_study
  from gen.scaling.sweeps import design

  designed = mixture_study.designed_sweep(sweep, TARGET.value, INTERIOR.value)
  design.check_sweep(designed)
  executor = executors.executor_from_flags()
  from rich.console import Console

  from gen.data import cache
  from gen.io.locks import FolderLock
  from gen.scaling.workers import sweep_dtype

  folder = Path(WORKDIR.value or f"runs/{sweep.name or 'tune_mixture'}")
  console = Console(highlight=False, soft_wrap=True)
  if line := sweep_dtype.set_default_dtype(designed, folder / "grid", executor):
    console.print(line)
  with FolderLock(folder):
    environment.compilation_cache(cache.cache_folder(sweep.data) / "compiled")
    return _tune(console, sweep, designed, folder, executor)


def _tune(
  console: "Console", sweep: Sweep, designed: Sweep, folder: Path, executor: executors.RunExecutor
) -> int:
  from gen.scaling.mixtures import mixture_study, mixture_summary
  from gen.scaling.workers import study

  failed: dict[str, str] = {}

  def train(part: Sweep, name: str) -> "list[mixture_study.MixtureRun] | None":
    # The target is one more corpus of the mixture, with a weight of 0.
    with name_flag("--target", f"data.mixture, {TARGET.value}:"):
      trained = study.train_study(part, folder / name, console, executor=executor)
    failed.update(trained.failed)
    if trained.interrupted:
      console.print(launch.stop_line(len(trained.results), len(trained.runs), folder / name))
      return None
    return mixture_study.measured_runs(part, TARGET.value, trained.runs, trained.results)

  runs = train(designed, "grid")
  if runs is None:
    return launch.INTERRUPTED
  confidence = sweep.criteria.confidence
  found = mixture_study.fit_study(designed, TARGET.value, runs, sweep.bootstraps, confidence)
  console.print("\n".join(mixture_summary.study_lines(found, confidence)), markup=False)
  runs = train(mixture_study.checking_sweep(sweep, designed, found.proposed), "checked")
  if runs is None:
    return launch.INTERRUPTED
  check = mixture_study.check_proposal(found, runs)
  console.print(f"\n{mixture_summary.check_line(check)}", markup=False)
  _write(console, folder, dataclasses.replace(found, check=check))
  for name, reason in failed.items():
    console.print(f"{name} has no result: {reason}", markup=False)
  return FAILED if failed else 0


def _write(console: "Console", folder: Path, found: "MixtureStudy") -> None:
  from gen import versions
  from gen.io import json_report
  from gen.scaling.mixtures import mixture_summary

  results = dataclasses.asdict(found) | {"versions": versions.installed_versions()}
  written = json_report.write_study(
    results,
    folder / "mixture.json",
    json_report.report_target(JSON.value),
    lambda: mixture_summary.draw_study(folder, found),
  )
  console.print(f"\nwritten: {', '.join(map(str, written))}", markup=False)


if __name__ == "__main__":
  launch.run_experiment(main, Sweep, "configs/tune_mixture.py")
