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

from gen import launch
from gen.errors import UserError
from gen.io import outputs

if TYPE_CHECKING:
  from gen.scaling.reanalysis import Recorded

STUDY = flags.DEFINE_string(
  "study", "", "Folder with the study's results.json, and its journal if there is one."
)
OUTPUT = outputs.DEFINE_folder("output", "", "Folder to write to; it may be the study's own.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Reads a study, fits and judges it, writes the results, and prints old and new figures."""
  if not STUDY.value or not OUTPUT.value:
    raise UserError("name the study's folder with --study=FOLDER and where to write with --output=FOLDER")
  from gen.scaling import answer, reanalysis, results_file
  from gen.scaling.plots import view
  from gen.training import journal, json_file

  target = Path(OUTPUT.value)
  try:
    target.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f"cannot write in {target}: {error.strerror}") from error
  recorded = reanalysis.read(Path(STUDY.value))
  is_atlas = "families" in recorded.results
  made = (reanalysis.families if is_atlas else reanalysis.study)(recorded)
  results = results_file.resealed(json.loads(journal.encode(made)))
  _write(results, recorded, target, is_atlas)
  before, after = (_parts(one) for one in (recorded.results, results))
  for name in after:
    _compare(name, before[name], after[name])
  if not is_atlas:
    print(f"\n{answer.sentence(view.read(results))}")
  json_file.write(results, json_file.target(JSON.value))
  return 0


def _write(results: dict[str, Any], recorded: "Recorded", folder: Path, is_atlas: bool) -> None:
  from gen.scaling import atlas_report, plots, report
  from gen.scaling.plots import atlas as figures
  from gen.training.manifest import write_whole

  try:
    write_whole(folder / "results.json", json.dumps(results, indent=1).encode())
    if is_atlas:
      figures.write_all(results, folder / "plots")
      atlas_report.write(results, folder)
    else:
      plots.write_all(results, recorded.curves, folder / "plots")
      report.write(results, recorded.curves, folder, recorded.panels)
  except OSError as error:
    raise UserError(f"cannot write in {folder}: {error.strerror}") from error


def _parts(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
  return results.get("families") or {str(results.get("name") or "study"): results}


def _compare(title: str, before: dict[str, Any], after: dict[str, Any]) -> None:
  """Prints what was and what is, of the verdict, the exponents, the prediction and the held-out budget."""
  print(f"{title}: credible {before['verdict']['credible']} -> {after['verdict']['credible']}")
  old = {one["name"]: one for one in before["verdict"]["reasons"]}
  for one in after["verdict"]["reasons"]:
    was = old.get(one["name"])
    if was is None or was["sentence"] != one["sentence"]:
      print(f"  {one['name']}: {'met' if one['passed'] else 'NOT MET'}: {one['sentence']}")
      print(
        f"    before: {'-' if was is None else ('met' if was['passed'] else 'NOT MET') + ': ' + was['sentence']}"
      )
  for part in ("laws", "prediction", "held_out"):
    for approach, found in (after.get(part) or {}).items():
      was = (before.get(part) or {}).get(approach)
      if isinstance(found, dict) and isinstance(was, dict):
        for name in ("a", "b", "N", "D", "loss"):
          if isinstance(found.get(name), float) and isinstance(was.get(name), float):
            pairs = [f"{one[name]:.5g} {_pair(one, name)}" for one in (was, found)]
            print(f"  {part} {approach} {name}: {' -> '.join(pairs)}")


def _pair(entry: dict[str, Any], name: str) -> str:
  pair = (entry.get("ci90") or {}).get(name)
  return f"[{pair[0]:.4g}, {pair[1]:.4g}]" if pair and None not in pair else "[]"


if __name__ == "__main__":
  launch.main(main, trains=False)
