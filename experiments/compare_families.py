"""How do an encoder, a decoder, an encoder-decoder and an LSTM grow with compute on the same text? An atlas of laws.

  uv run experiments/compare_families.py
  uv run experiments/compare_families.py --families=decoder,lstm --workdir=runs/two

An IsoFLOP study of each family with the same corpus, tokenizer, trainer and FLOP meter, trained in one pool of workers;
each is fitted and judged like any sweep, then they are set side by side: exponents with paired intervals, least loss
against FLOPs and seconds, tokens per parameter by three meanings of D, and what the LSTM pays for the decoder's loss.
Says of each comparison whether it may be made. Stop it whenever you like: the same command goes on.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import environment, launch
from gen.config import ATLAS_FAMILIES, Atlas
from gen.errors import UserError
from gen.io import outputs, strict_json
from gen.scaling.workers import executors

if TYPE_CHECKING:
  from rich.console import Console

  from gen.scaling.report.tables import ReportTable
  from gen.scaling.workers.study import TrainedStudy

WORKDIR = outputs.DEFINE_folder("workdir", "", "Folder of the atlas; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
FAMILIES = flags.DEFINE_list("families", list(ATLAS_FAMILIES), "Which of the config's families.")

executors.define_flags()

_WIDEST = 200  # columns of a table
FAILED = 1  # exit code: some runs have no result


def main(atlas: Atlas) -> int:
  """Trains what is left of all studies, fits, judges and compares, and writes everything down."""
  from gen.scaling.atlas import atlas_checks

  executor = executors.executor_from_flags()
  chosen = atlas_checks.check_atlas(atlas, tuple(FAMILIES.value))
  from rich.console import Console

  from gen.data import cache
  from gen.io.locks import FolderLock
  from gen.scaling.atlas import atlas_study

  folder = Path(WORKDIR.value or f"runs/{atlas.name or 'atlas'}")
  console = Console(highlight=False, soft_wrap=True)
  with FolderLock(folder):
    environment.compilation_cache(cache.cache_folder(next(iter(chosen.values())).data) / "compiled")
    trained = atlas_study.train_studies(chosen, folder, console, atlas.workers, executor)
    if any(one.interrupted for one in trained.values()):
      return _interrupted(console, trained, folder)
    try:
      return _conclude(console, atlas, chosen, trained, folder)
    except KeyboardInterrupt:
      return _interrupted(console, trained, folder)


def _conclude(
  console: "Console", atlas: Atlas, chosen: dict[str, Any], trained: dict[str, "TrainedStudy"], folder: Path
) -> int:
  """Fits, judges, compares, prints and writes what was trained; returns the exit code."""
  from gen.io import json_report
  from gen.io.checksums import write_atomically
  from gen.scaling.atlas import atlas_figures, atlas_page, atlas_study
  from gen.scaling.report import page as report_page
  from gen.scaling.verdicts import results_file
  from gen.training import journal

  # Through the journal's encoding: what JSON does not have (NaN) becomes null.
  results = json.loads(strict_json.encode_json(atlas_study.collect_results(atlas, chosen, trained)))
  studies = results.pop("studies")
  _print(console, results)
  rows = [
    row | {"family": name} for name in chosen for row in [*trained[name].curves, *trained[name].results]
  ]
  try:
    for name, study in studies.items():
      write_atomically(
        folder / name / "results.json", json.dumps(results_file.seal_results(study), indent=1).encode()
      )
      report_page.write_page(study, trained[name].curves, folder / name)
    write_atomically(folder / "results.json", json.dumps(results, indent=1).encode())
    write_atomically(folder / "journal.jsonl", journal.seal_rows(rows, complete=True))
    pictures = atlas_figures.write_figures(results, folder / "plots")
    page = atlas_page.write_page(results, folder)
  except OSError as error:
    raise UserError(f"cannot write in {folder}: {error.strerror}; the runs are done and kept") from error
  console.print(f"\nwritten: {folder / 'journal.jsonl'}, {folder / 'results.json'}, {page}, and")
  console.print("  " + ", ".join(str(path) for path in pictures if path.suffix == ".png"))
  json_report.write_report(results, json_report.report_target(JSON.value))
  return FAILED if any(one.failed for one in trained.values()) else 0


def _interrupted(console: "Console", trained: dict[str, "TrainedStudy"], folder: Path) -> int:
  done, total = (sum(len(getattr(one, name)) for one in trained.values()) for name in ("results", "runs"))
  console.print(f"stopped; {done} of {total} runs are done, all is saved in {folder}; to go on: "
                f"uv run {shlex.join(sys.argv)}")  # fmt: skip
  return launch.INTERRUPTED


def _print(console: "Console", results: dict[str, Any]) -> None:
  """Prints the tables, what may be compared, and each family's verdict."""
  from gen.scaling.atlas import atlas_tables

  drawn = (
    atlas_tables.law_table(results),
    atlas_tables.optimum_table(results),
    atlas_tables.difference_table(results),
    atlas_tables.equal_loss(results),
  )
  for table in drawn:
    if table is not None and table.rows:
      console.print()
      _draw(console, table)
  for one in results["comparable"]:
    console.print(f"{'may be' if one['comparable'] else 'MAY NOT BE'} compared: {one['what']}: {one['why']}")
  for family in results["families"].values():
    verdict = family["verdict"]
    console.print(f"\n{family['title']}: {'credible' if verdict['credible'] else 'not credible'}")
    for reason in verdict["reasons"]:
      console.print(f"  {'met    ' if reason['passed'] else 'NOT MET'}  {reason['sentence']}")
    for name, why in family["failed"].items():
      console.print(f"  {name} has no result: {why}")
  console.print(f"\n{results['caution']}")


def _draw(console: "Console", table: "ReportTable") -> None:
  from rich.table import Table as RichTable

  drawn = RichTable(title=table.caption, title_justify="left", box=None, pad_edge=False)
  for number, heading in enumerate(table.head):
    drawn.add_column(heading, justify="right" if number else "left", no_wrap=True)
  for row in table.rows:
    drawn.add_row(*(f"{cell.text} {cell.small}".strip() for cell in row.cells))
  width, height = max(console.width, _WIDEST), console.height
  type(console)(file=console.file, highlight=False, width=width, height=height).print(drawn)


if __name__ == "__main__":
  launch.run_experiment(main, Atlas, "configs/atlas.py")
