"""What do these runs say by today's fits? Fits and judges a finished study again; trains nothing, changes no loss.

  uv run experiments/reanalyse.py --study=results/full --output=/tmp/full
  uv run experiments/reanalyse.py --study=runs/chinchilla --output=runs/chinchilla

Reads results.json, and journal.jsonl or journal.jsonl.gz beside it, of a sweep or an atlas. Writes results.json,
report.html and plots/ to --output. The study's own criteria, bootstraps and seed are used. Prints what has changed.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, strict_json

if TYPE_CHECKING:
  from gen.scaling.atlas.reanalysis import RecordedStudy

STUDY = flags.DEFINE_string(
  "study", "", "Folder with the study's results.json, and its journal if there is one."
)
OUTPUT = outputs.DEFINE_folder("output", "", "Folder to write to; it may be the study's own.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Reads a study, fits and judges it, writes the results, and prints old and new figures."""
  if not STUDY.value or not OUTPUT.value:
    raise UserError("name the study's folder with --study=FOLDER and where to write with --output=FOLDER")
  from gen.io import json_report
  from gen.scaling.atlas import reanalysis
  from gen.scaling.report import answer, view
  from gen.scaling.runs import results_file

  target = Path(OUTPUT.value)
  try:
    target.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f"cannot write in {target}: {error.strerror}") from error
  recorded = reanalysis.read_study(Path(STUDY.value))
  is_atlas = "families" in recorded.results
  made = (reanalysis.reanalyse_atlas if is_atlas else reanalysis.reanalyse_study)(recorded)
  results = results_file.reseal_results(json.loads(strict_json.encode_json(made)))
  _write(results, recorded, target, is_atlas)
  before, after = (_parts(content) for content in (recorded.results, results))
  for name in after:
    _compare(name, before[name], after[name])
  if not is_atlas:
    print(f"\n{answer.answer_sentence(view.read_results(results))}")
  json_report.write_report(results, json_report.report_target(JSON.value))
  return 0


def _write(results: dict[str, object], recorded: "RecordedStudy", folder: Path, is_atlas: bool) -> None:
  from gen.io.checksums import write_atomically
  from gen.scaling.atlas import atlas_figures, atlas_page, atlas_records
  from gen.scaling.report import figures, study_page

  try:
    write_atomically(folder / "results.json", json.dumps(results, indent=1).encode())
    if is_atlas:
      atlas = atlas_records.read_atlas(results, "results.json")
      atlas_figures.write_figures(atlas, folder / "plots")
      atlas_page.write_page(atlas, folder)
    else:
      figures.write_figures(results, recorded.curves, folder / "plots")
      study_page.write_page(results, recorded.curves, folder, recorded.panels)
  except OSError as error:
    raise UserError(f"cannot write in {folder}: {error.strerror}") from error


def _parts(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
  return results.get("families") or {str(results.get("name") or "study"): results}


def _compare(title: str, before: dict[str, Any], after: dict[str, Any]) -> None:
  """Prints what was and what is, of the verdict, the exponents, the prediction and the held-out budget."""
  print(f"{title}: credible {before['verdict']['credible']} -> {after['verdict']['credible']}")
  old = {reason["name"]: reason for reason in before["verdict"]["reasons"]}
  for reason in after["verdict"]["reasons"]:
    was = old.get(reason["name"])
    if was is None or was["sentence"] != reason["sentence"]:
      print(f"  {reason['name']}: {'met' if reason['passed'] else 'NOT MET'}: {reason['sentence']}")
      print(
        f"    before: {'-' if was is None else ('met' if was['passed'] else 'NOT MET') + ': ' + was['sentence']}"
      )
  for part in ("laws", "prediction", "held_out"):
    for approach, values in (after.get(part) or {}).items():
      was = (before.get(part) or {}).get(approach)
      if isinstance(values, dict) and isinstance(was, dict):
        for name in ("a", "b", "N", "D", "loss"):
          if isinstance(values.get(name), float) and isinstance(was.get(name), float):
            pairs = [f"{reason[name]:.5g} {_pair(reason, name)}" for reason in (was, values)]
            print(f"  {part} {approach} {name}: {' -> '.join(pairs)}")


def _pair(entry: dict[str, Any], name: str) -> str:
  pair = (entry.get("ci90") or {}).get(name)
  return f"[{pair[0]:.4g}, {pair[1]:.4g}]" if pair and None not in pair else "[]"


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
