"""Given a compute budget, which decoder should I train on how many tokens? A sweep, three fits, and a verdict.

  uv run experiments/chinchilla.py
  uv run experiments/chinchilla.py --config=configs/smoke.py --workdir=runs/smoke

Trains every size of every budget (IsoFLOP), one worker per core; fits approaches 1, 2 and 3 of Hoffmann et al. 2022
(arXiv:2203.15556); predicts the optimum at ten times the largest budget; and says whether to believe it. Stop it
whenever you like: the same command goes on.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import environment, launch
from gen.config import Sweep
from gen.errors import UserError
from gen.io import outputs, strict_json
from gen.scaling.workers import executors

if TYPE_CHECKING:
  from rich.console import Console

  from gen.scaling.report.tables import ReportTable
  from gen.scaling.workers.study import TrainedStudy

WORKDIR = outputs.DEFINE_folder("workdir", "", "Folder of the sweep; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
NAME = flags.DEFINE_string("name", "", "Name of the sweep; empty: the config's.")

executors.define_flags()

_WIDEST = 160  # columns of a table
FAILED = 1  # exit code: some runs have no result


def main(sweep: Sweep) -> int:
  """Trains what is left of the sweep, fits, judges, and writes everything down."""
  from gen.io.locks import FolderLock
  from gen.scaling.sweeps import design

  executor = executors.executor_from_flags()
  sweep.name = NAME.value or sweep.name or "chinchilla"
  design.check_sweep(sweep)
  folder = Path(WORKDIR.value or f"runs/{sweep.name}")
  with FolderLock(folder):
    return train_and_report(sweep, folder, executor)


def train_and_report(sweep: Sweep, folder: Path, executor: executors.RunExecutor) -> int:
  """Does the sweep in a folder that nobody else uses; returns the exit code."""
  from rich.console import Console

  from gen.data import cache
  from gen.scaling.workers import study

  console = Console(highlight=False, soft_wrap=True)
  environment.compilation_cache(cache.cache_folder(sweep.data) / "compiled")
  trained = study.train_study(sweep, folder, console, executor=executor)
  if trained.interrupted:
    return _interrupted(console, trained, folder)
  try:
    return _conclude(console, sweep, trained, folder)
  except KeyboardInterrupt:
    return _interrupted(console, trained, folder)


def _conclude(console: "Console", sweep: Sweep, trained: "TrainedStudy", folder: Path) -> int:
  """Fits, judges, prints and writes what was trained; returns the exit code."""
  from gen.io import json_report
  from gen.io.checksums import write_atomically
  from gen.scaling.report import answer, figures, view
  from gen.scaling.report import page as report_page
  from gen.scaling.verdicts import results_file, verdict
  from gen.scaling.workers import study

  analysis = verdict.analyse_sweep(
    trained.results, trained.curves, sweep.criteria, bootstraps=sweep.bootstraps, seed=sweep.seed
  )
  # Through the journal's encoding: what JSON does not have (NaN) becomes null.
  results = json.loads(strict_json.encode_json(study.collect_results(sweep, trained, analysis)))
  _print(console, results)
  try:
    write_atomically(
      folder / "results.json", json.dumps(results_file.seal_results(results), indent=1).encode()
    )
    pictures = figures.write_figures(results, trained.curves, folder / "plots")
    page = report_page.write_page(results, trained.curves, folder)
  except OSError as error:
    raise UserError(f"cannot write in {folder}: {error.strerror}; the runs are done and kept") from error
  console.print(f"\nwritten: {folder / 'journal.jsonl'}, {folder / 'results.json'}, {page}, and")
  console.print("  " + ", ".join(str(path) for path in pictures if path.suffix == ".png"))
  console.print(f"\n{answer.answer_sentence(view.read_results(results))}")
  json_report.write_report(results, json_report.report_target(JSON.value))
  return FAILED if trained.failed else 0


def _interrupted(console: "Console", trained: "TrainedStudy", folder: Path) -> int:
  done = f"{len(trained.results)} of {len(trained.runs)} runs are done, all is saved in {folder}"
  console.print(f"stopped; {done}; to go on: uv run {shlex.join(sys.argv)}")
  return launch.INTERRUPTED


def _print(console: "Console", results: dict[str, Any]) -> None:
  """Prints the table, the fits, the prediction and the verdict."""
  from gen.scaling.report import tables, view

  seen = view.read_results(results)
  fitted = (
    tables.interval_table(seen),
    tables.constants_table(seen),
    tables.prediction_table(seen),
    tables.held_out_table(seen),
  )
  for table in (_sizes(seen), tables.compute_table(seen), *fitted):
    if table is not None:
      console.print()
      _draw(console, table)
  for text in tables.fit_warnings(seen):
    console.print(f"warning: {text}")
  share = results["utilization"]["share"]
  console.print(f"\n{100 * share:.0f} % of the workers' wall time was inside training steps")
  for name, why in results["failed"].items():
    console.print(f"{name} has no result: {why}")
  verdict = results["verdict"]
  console.print("\ncredible" if verdict["credible"] else "\nnot credible")
  for reason in verdict["reasons"]:
    console.print(f"  {'met    ' if reason['passed'] else 'NOT MET'}  {reason['sentence']}")


def _sizes(seen: Any) -> "ReportTable":
  """Returns the table of sizes within budgets, the best of each marked."""
  from gen.scaling.report.tables import (
    ReportTable,
    TableCell,
    TableRow,
    format_count,
    format_digits,
    format_flops,
  )

  best = {spot.budget: spot for spot in sorted(seen.spots, key=lambda one: -one.loss)}
  table = ReportTable(
    "Loss in nats, seeds averaged.", ["Budget C", "N", f"D ({seen.unit})", "Seeds", "Loss", "Best"]
  )
  for spot in seen.spots:
    words = [
      format_flops(spot.budget) + (" held out" if spot.held_out else ""),
      *(
        format_count(spot.params),
        format_count(spot.tokens),
        str(len(spot.members)),
        format_digits(spot.loss, 4),
      ),
      "*" if best[spot.budget] is spot else "",
    ]
    table.rows.append(TableRow([TableCell(text) for text in words]))
  return table


def _draw(console: "Console", table: "ReportTable") -> None:
  from rich.table import Table as RichTable

  drawn = RichTable(title=table.caption, title_justify="left", box=None, pad_edge=False)
  for number, heading in enumerate(table.head):
    drawn.add_column(heading, justify="right" if number else "left", no_wrap=True)
  for row in table.rows:
    drawn.add_row(*(cell.text for cell in row.cells))
  # A pipe says 80 columns; no number is cut for that. Without a height, rich does not heed the width.
  width, height = max(console.width, _WIDEST), console.height
  type(console)(file=console.file, highlight=False, width=width, height=height).print(drawn)


if __name__ == "__main__":
  launch.run_experiment(main, Sweep, "configs/chinchilla.py")
