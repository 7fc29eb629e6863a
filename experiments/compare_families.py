"""How do an encoder, a decoder, an encoder-decoder and an LSTM grow with compute on the same text? An atlas of laws.

  uv run experiments/compare_families.py
  uv run experiments/compare_families.py --families=decoder,lstm --workdir=runs/two

Trains an IsoFLOP study of each family with the same corpus, tokenizer, trainer and FLOP count, in one pool of workers.
Fits and judges each study like any sweep. Then it compares them: exponents with paired intervals, lowest loss against
FLOPs and seconds, tokens per parameter by three definitions of D, and the FLOPs an LSTM needs for the decoder's loss.
Reports whether each comparison is valid. You can stop it at any time; the same command resumes.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import environment, launch, shared_flags
from gen.config import ATLAS_FAMILIES, Atlas
from gen.errors import UserError
from gen.io import outputs, strict_json, typed_json
from gen.scaling.workers import executors

if TYPE_CHECKING:
  from rich.console import Console

  from gen.scaling.workers.study import TrainedStudy

WORKDIR = shared_flags.define_workdir("Folder of the atlas; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
FAMILIES = flags.DEFINE_list("families", list(ATLAS_FAMILIES), "Families of the config to train.")

executors.define_flags()

FAILED = 1  # exit code: some runs have no result


def main(atlas: Atlas) -> int:
  """Trains the runs that are missing, fits, judges and compares the studies, and writes all results."""
  from gen.scaling.atlas import atlas_checks

  executor = executors.executor_from_flags()
  chosen = atlas_checks.check_atlas(atlas, tuple(FAMILIES.value))
  from rich.console import Console

  from gen.data import cache
  from gen.io.locks import FolderLock
  from gen.scaling.atlas import atlas_study
  from gen.scaling.workers import sweep_dtype

  folder = Path(WORKDIR.value or f"runs/{atlas.name or 'atlas'}")
  console = Console(highlight=False, soft_wrap=True)
  for name, sweep in chosen.items():
    if line := sweep_dtype.set_default_dtype(sweep, folder / name, executor):
      console.print(f"{name}: {line}")
  with FolderLock(folder):
    environment.compilation_cache(cache.cache_folder(next(iter(chosen.values())).data) / "compiled")
    trained = atlas_study.train_studies(chosen, folder, console, atlas.workers, executor)
    try:
      if not any(study.interrupted for study in trained.values()):
        return _conclude(console, atlas, chosen, trained, folder)
    except KeyboardInterrupt:
      pass
    done, total = (
      sum(len(getattr(study, name)) for study in trained.values()) for name in ("results", "runs")
    )
    console.print(launch.stop_line(done, total, folder))
    return launch.INTERRUPTED


def _plain(results: object) -> dict[str, object]:
  """Returns a record as JSON holds it, in which NaN is null."""
  content: dict[str, object] = json.loads(strict_json.encode_json(typed_json.encode_record(results)))
  return content


def _conclude(
  console: "Console", atlas: Atlas, chosen: dict[str, Any], trained: dict[str, "TrainedStudy"], folder: Path
) -> int:
  """Fits, judges, compares, prints and writes the trained studies; returns the exit code."""
  from gen.io import json_report
  from gen.io.checksums import write_atomically
  from gen.scaling.atlas import atlas_console, atlas_figures, atlas_page, atlas_study
  from gen.scaling.report import study_page
  from gen.scaling.runs import results_file
  from gen.training.run_log import journal

  collected = atlas_study.collect_results(atlas, chosen, trained)
  results = results_file.seal_results(_plain(collected.results))
  atlas_console.print_atlas(console, collected.results)
  rows = [
    row | {"family": name} for name in chosen for row in [*trained[name].curves, *trained[name].results]
  ]
  try:
    for name, study in collected.studies.items():
      content = results_file.seal_results(_plain(study))
      write_atomically(folder / name / "results.json", json.dumps(content, indent=1).encode())
      study_page.write_page(content, trained[name].curves, folder / name)
    write_atomically(folder / "results.json", json.dumps(results, indent=1).encode())
    write_atomically(folder / "journal.jsonl", journal.seal_rows(rows, complete=True))
    pictures = atlas_figures.write_figures(collected.results, folder / "plots")
    page = atlas_page.write_page(collected.results, folder)
  except OSError as error:
    raise UserError(f"cannot write in {folder}: {error.strerror}; all runs are done and saved") from error
  console.print(f"\nwritten: {folder / 'journal.jsonl'}, {folder / 'results.json'}, {page}, and")
  console.print("  " + ", ".join(str(path) for path in pictures if path.suffix == ".png"))
  json_report.write_report(results, json_report.report_target(JSON.value))
  return FAILED if any(study.failed for study in trained.values()) else 0


if __name__ == "__main__":
  launch.run_experiment(main, Atlas, "configs/atlas.py")
