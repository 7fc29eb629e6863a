"""What of this raw text is worth training on? Runs it through named stages and says what went, and why.

  uv run experiments/curate.py --source=raw.jsonl --output=corpora/clean
  uv run experiments/curate.py --source='mail/*.mbox,pages' --output=corpora/clean --config.without=c4

A source is any corpus (docs/data.md), raw HTML, or raw e-mail. The folder then holds shards of text, manifest.json,
report.html, report.json, and drops.jsonl with a line for each dropped document. --config.data.corpus=FOLDER trains on
it. A run that was stopped continues with the same command; any number of --workers gives the same bytes.
"""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gen.cli import launch
from gen.config.curation import Curation
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.data.curation.funnel import Outcome

SOURCE = flags.DEFINE_list(
  "source", [], "Corpora to curate: files, folders, globs, mail:PATH, package:..., ..."
)
OUTPUT = outputs.DEFINE_folder("output", "", "Folder of the result.")
LICENCE = flags.DEFINE_string("licence", "", "Licence of the sources, for the manifest.")
DAMAGED = flags.DEFINE_enum(
  "damaged", "stop", ["stop", "skip"], "What a file that cannot be read does; skip reports it."
)
WORKERS = quantities.DEFINE_integer(
  "workers", 0, "Processes; 0: one per core.", lower_bound=0, upper_bound=4096
)
JSON = outputs.DEFINE_json()


def main(config: Curation) -> int:
  """Curates the sources and prints the report."""
  if not OUTPUT.value:
    raise UserError("no folder is given; name that of the result with --output=FOLDER")
  from gen.data.curation import report
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does, with a sentence
  try:
    outcome = _curate(config)
  except KeyboardInterrupt:
    print("stopped; the same command continues where it stopped", file=sys.stderr)
    return launch.INTERRUPTED
  if outcome.existed:
    json_report.print_note(f"{OUTPUT.value} is complete already", JSON.value)
  print("\n".join(report.report_lines(outcome.report)))
  print(Path(OUTPUT.value) / "report.html")
  json_report.write_report(outcome.report, target)
  return 0


def _curate(config: Curation) -> "Outcome":
  """Runs the curation that the flags describe."""
  from gen.data.curation import funnel, registry
  from gen.evaluation import curation_scoring

  registry.check_stages(config)
  return funnel.curate_sources(
    SOURCE.value,
    Path(OUTPUT.value),
    config,
    licence=LICENCE.value,
    skip_damaged=DAMAGED.value == "skip",
    options=funnel.Options(WORKERS.value),
    model=curation_scoring.perplexity_model(config),
  )


if __name__ == "__main__":
  # Found from any folder, because the raw text is often in another.
  launch.run_experiment(main, Curation, str(Path(__file__).parents[1] / "configs/curation.py"), trains=False)
