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

from gen import launch
from gen.config import Sweep
from gen.errors import UserError
from gen.io import outputs
from gen.scaling import executors

if TYPE_CHECKING:
  from rich.console import Console

  from gen.scaling.report_tables import Table
  from gen.scaling.study import Trained

WORKDIR = outputs.DEFINE_folder("workdir", "", "Folder of the sweep; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
NAME = flags.DEFINE_string("name", "", "Name of the sweep; empty: the config's.")

executors.define_flags()

_WIDEST = 160  # columns of a table
FAILED = 1  # exit code: some runs have no result


def main(sweep: Sweep) -> int:
  """Trains what is left of the sweep, fits, judges, and writes everything down."""
  from gen.scaling import sweep as sweeps
  from gen.training.locks import Lock

  executor = executors.from_flags()
  sweep.name = NAME.value or sweep.name or "chinchilla"
  sweeps.check(sweep)
  folder = Path(WORKDIR.value or f"runs/{sweep.name}")
  with Lock(folder):
    return study(sweep, folder, executor)


def study(sweep: Sweep, folder: Path, executor: executors.Executor) -> int:
  """Does the sweep in a folder that nobody else uses; returns the exit code."""
  from rich.console import Console

  from gen.data import cache
  from gen.scaling import study as studies

  console = Console(highlight=False, soft_wrap=True)
  launch.compilation_cache(cache.cache_folder(sweep.data) / "compiled")
  trained = studies.train(sweep, folder, console, executor=executor)
  if trained.interrupted:
    return _interrupted(console, trained, folder)
  try:
    return _conclude(console, sweep, trained, folder)
  except KeyboardInterrupt:
    return _interrupted(console, trained, folder)


def _conclude(console: "Console", sweep: Sweep, trained: "Trained", folder: Path) -> int:
  """Fits, judges, prints and writes what was trained; returns the exit code."""
  from gen.scaling import answer, plots, report, results_file, verdict
  from gen.scaling import study as studies
  from gen.scaling.plots import view
  from gen.training import journal, json_file
  from gen.training.manifest import write_whole

  analysis = verdict.analyse(
    trained.results, trained.curves, sweep.criteria, bootstraps=sweep.bootstraps, seed=sweep.seed
  )
  # Through the journal's encoding: what JSON does not have (NaN) becomes null.
  results = json.loads(journal.encode(studies.results(sweep, trained, analysis)))
  _print(console, results)
  try:
    write_whole(folder / "results.json", json.dumps(results_file.sealed(results), indent=1).encode())
    pictures = plots.write_all(results, trained.curves, folder / "plots")
    page = report.write(results, trained.curves, folder)
  except OSError as error:
    raise UserError(f"cannot write in {folder}: {error.strerror}; the runs are done and kept") from error
  console.print(f"\nwritten: {folder / 'journal.jsonl'}, {folder / 'results.json'}, {page}, and")
  console.print("  " + ", ".join(str(path) for path in pictures if path.suffix == ".png"))
  console.print(f"\n{answer.sentence(view.read(results))}")
  json_file.write(results, json_file.target(JSON.value))
  return FAILED if trained.failed else 0


def _interrupted(console: "Console", trained: "Trained", folder: Path) -> int:
  done = f"{len(trained.results)} of {len(trained.runs)} runs are done, all is saved in {folder}"
  console.print(f"stopped; {done}; to go on: uv run {shlex.join(sys.argv)}")
  return launch.INTERRUPTED


def _print(console: "Console", results: dict[str, Any]) -> None:
  """Prints the table, the fits, the prediction and the verdict."""
  from gen.scaling import report_tables as tables
  from gen.scaling.plots import view

  seen = view.read(results)
  fitted = (tables.intervals(seen), tables.parametric(seen), tables.prediction(seen), tables.held_out(seen))
  for table in (_sizes(seen), tables.compute(seen), *fitted):
    if table is not None:
      console.print()
      _draw(console, table)
  for text in tables.warnings(seen):
    console.print(f"warning: {text}")
  share = results["utilization"]["share"]
  console.print(f"\n{100 * share:.0f} % of the workers' wall time was inside training steps")
  for name, why in results["failed"].items():
    console.print(f"{name} has no result: {why}")
  verdict = results["verdict"]
  console.print("\ncredible" if verdict["credible"] else "\nnot credible")
  for reason in verdict["reasons"]:
    console.print(f"  {'met    ' if reason['passed'] else 'NOT MET'}  {reason['sentence']}")


def _sizes(seen: Any) -> "Table":
  """Returns the table of sizes within budgets, the best of each marked."""
  from gen.scaling.report_tables import Cell, Row, Table, count, digits, flops

  best = {spot.budget: spot for spot in sorted(seen.spots, key=lambda one: -one.loss)}
  table = Table(
    "Loss in nats, seeds averaged.", ["Budget C", "N", f"D ({seen.unit})", "Seeds", "Loss", "Best"]
  )
  for spot in seen.spots:
    words = [
      flops(spot.budget) + (" held out" if spot.held_out else ""),
      *(count(spot.params), count(spot.tokens), str(len(spot.members)), digits(spot.loss, 4)),
      "*" if best[spot.budget] is spot else "",
    ]
    table.rows.append(Row([Cell(text) for text in words]))
  return table


def _draw(console: "Console", table: "Table") -> None:
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
  launch.main(main, Sweep, "configs/chinchilla.py")
