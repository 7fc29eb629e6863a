"""Was a curation worth it? The loss that each stage buys at equal FLOPs, judged by clean text of another source.

  uv run experiments/curation.py --source=raw.jsonl --judge=clean.jsonl
  uv run experiments/curation.py --source='mail/*.mbox,pages' --judge=manual:small --config.after=documents

Curates the sources as experiments/curate.py does, and trains on the raw text and on what each stage leaves. Prints the
bits per byte that each stage buys, the FLOPs that would buy the same on raw text, and from how many epochs on a part of
the final text costs more than the curation gained. Writes curation.json, .png and .pdf. The same command resumes.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gen.cli import environment, launch, shared_flags
from gen.config.comparisons import CurationStudy, check_curation_study
from gen.errors import UserError
from gen.io import outputs
from gen.scaling.workers import executors

if TYPE_CHECKING:
  from gen.scaling.comparisons.curation_records import CurationResults

SOURCE = flags.DEFINE_list("source", [], "Raw corpora: files, folders, globs, mail:PATH, package:..., ...")
JUDGE = flags.DEFINE_string("judge", "", "Clean corpus of another source, whose text judges every run.")
WORKDIR = shared_flags.define_workdir("Folder of texts, runs and results; empty: runs/NAME.")
JSON = outputs.DEFINE_json()

executors.define_flags()

FAILED = 1  # exit code: some runs have no result


def main(config: CurationStudy) -> int:
  """Curates, trains the runs that are missing, scores and compares them, and writes all results."""
  if not SOURCE.value:
    raise UserError("--source is not given; name the raw text, as for experiments/curate.py")
  if not JUDGE.value:
    raise UserError("--judge is not given; name a clean corpus of another source, such as manual:small")
  check_curation_study(config)
  from gen.scaling.sweeps import design

  design.check_sweep(config.sweep)
  executor = executors.executor_from_flags()
  from rich.console import Console

  from gen.data import cache
  from gen.data.curation import registry
  from gen.evaluation import curation_scoring
  from gen.io.locks import FolderLock
  from gen.scaling.comparisons import curation_study, curation_texts
  from gen.scaling.workers import sweep_dtype

  registry.check_stages(config.curation)
  config.name = config.name or "curation"
  folder = Path(WORKDIR.value or f"runs/{config.name}")
  console = Console(highlight=False, soft_wrap=True)
  if line := sweep_dtype.set_default_dtype(config.sweep, folder / "raw", executor):
    console.print(line)
  with FolderLock(folder):
    environment.compilation_cache(cache.cache_folder(config.sweep.data) / "compiled")
    model = curation_scoring.perplexity_model(config.curation)
    texts = curation_texts.curate_stages(config, SOURCE.value, folder, console.print, model)
    opened = curation_study.open_texts(config, texts, JUDGE.value, folder, console.print)
    corpora = {text.stage: str(text.folder.resolve()) for text in texts}
    trained = curation_study.train_texts(config, opened, corpora, folder, console, executor)
    if trained.interrupted:
      console.print(launch.stop_line(trained.done, trained.total, folder))
      return launch.INTERRUPTED
    results = curation_study.collect_results(config, opened, trained, folder, console.print)
    _write(results, folder)
  return FAILED if results.failed else 0


def _write(results: "CurationResults", folder: Path) -> None:
  """Prints the results and writes them into the folder."""
  from rich.console import Console

  from gen.io import json_report, typed_json
  from gen.scaling.comparisons import curation_figure, curation_report

  console = Console(highlight=False, soft_wrap=True)
  curation_report.print_results(console, results)
  written = json_report.write_study(
    typed_json.encode_record(results),
    folder / f"{curation_figure.NAME}.json",
    json_report.report_target(JSON.value),
    lambda: curation_figure.write_figure(results, folder),
  )
  console.print(f"\nwritten: {', '.join(map(str, written))}")


if __name__ == "__main__":
  launch.run_experiment(main, CurationStudy, "configs/curation_study.py")
