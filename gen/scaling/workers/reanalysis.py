"""Fits and judges a finished study again from the records of its runs, without training.

    results.json (runs, criteria) and journal.jsonl (curves), if there is one -> laws, predictions, verdict

The losses of the runs stay as they are. An atlas keeps what it says of valleys, which no law enters, and has each
family's laws and verdict made anew.
"""

import gzip
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from gen.config import Criteria, from_dict
from gen.errors import UserError
from gen.io import json_lines, json_reading
from gen.scaling.atlas import atlas_study
from gen.scaling.verdicts import results_file, verdict

JOURNALS = ("journal.jsonl", "journal.jsonl.gz")
_FROM_TRAINING = ("complete", "one_epoch")  # reasons that the runs decided, not the fits


class RecordedStudy(NamedTuple):
  """The records in a study's folder.

  Attributes:
    results: results.json.
    curves: the journal's rows of training; none where no journal is at hand.
    panels: drawings of the study's page that took the journal, where only the page is at hand.
  """

  results: dict[str, Any]
  curves: list[dict[str, Any]]
  panels: dict[str, Markup]


def read_study(folder: Path) -> RecordedStudy:
  """Reads a study's folder.

  Raises:
    UserError: for a folder without results.json, a file that is damaged, and a journal with other losses.
  """
  results = json_reading.read_json(folder / "results.json")
  results_file.check_results(results, str(folder / "results.json"))
  if not isinstance(results.get("points"), list) and not isinstance(results.get("families"), dict):
    raise UserError(f"{folder / 'results.json'} holds no runs (points, or the families of an atlas)")
  path = next((folder / name for name in JOURNALS if (folder / name).exists()), None)
  rows = [] if path is None else _rows(path)
  losses = {row.get("run"): row.get("loss") for row in rows if row.get("kind") == "result"}
  for point in results.get("points") or []:
    if losses and losses.get(point.get("run")) != point.get("loss"):
      raise UserError(
        f"{folder}: results.json says loss {point.get('loss')} of {point.get('name')}, its journal "
        f"{losses.get(point.get('run'))}; give the two files of one study"
      )
  panels = _panels(folder / "report.html") if path is None else {}
  return RecordedStudy(results, [row for row in rows if row.get("kind") == "train"], panels)


def reanalyse_study(recorded: RecordedStudy) -> dict[str, Any]:
  """Returns the results with laws, predictions and verdict made anew by the study's own criteria and seed."""
  results = recorded.results
  config = json_reading.require_field(results, "config", dict, "results.json")
  analysis = verdict.analyse_sweep(
    results["points"], recorded.curves, _criteria(config), bootstraps=int(config.get("bootstraps", 1000)),
    seed=int(config.get("seed", 0)),
  )  # fmt: skip
  if not recorded.curves:
    analysis = _with_recorded_curves(results, analysis)
  return _merged(results, analysis)


def reanalyse_atlas(recorded: RecordedStudy) -> dict[str, Any]:
  """Returns an atlas' results with each family's laws and verdict made anew."""
  results = recorded.results
  config = json_reading.require_field(results, "config", dict, "results.json")
  made = {}
  for name, family in results["families"].items():
    sweep = json_reading.require_field(config, name, dict, "results.json: config")
    analysis = verdict.analyse_sweep(
      family["points"], [], _criteria(sweep), bootstraps=int(config.get("bootstraps", 1000)),
      seed=int(config.get("seed", 0)),
    )  # fmt: skip
    made[name] = atlas_study.without_curves(_merged(family, _with_recorded_curves(family, analysis)))
  return atlas_study.with_families(results, made)


def _panels(page: Path) -> dict[str, Markup]:
  """Returns the drawing of the training curves of a page that this project wrote."""
  if not page.exists():
    return {}
  found = re.search(r'<svg class="figure" data-figure="curves".*?</svg>', page.read_text("utf-8"), re.DOTALL)
  return {"curves": Markup(found.group(0))} if found else {}


def _with_recorded_curves(old: Mapping[str, Any], analysis: dict[str, Any]) -> dict[str, Any]:
  """Returns an analysis without curves with approach 1 as it was recorded, if it was read from curves.

  Raises:
    UserError: where the other approaches' intervals have moved, to which approach 1's are compared.
  """
  before = old["laws"].get("envelope", {})
  if before.get("form") != "curves":
    return analysis
  for name in ("isoflop", "parametric"):
    was, now = ((one["laws"].get(name, {}).get("ci90") or {}).get("a") for one in (old, analysis))
    if was is None or now is None or max(abs(x - y) for x, y in zip(was, now, strict=True)) > 1e-6:
      raise UserError(
        "approach 1 of this study was read from training curves; give its journal.jsonl as well"
      )
  made = {**analysis, "laws": analysis["laws"] | {"envelope": before}}
  for part in ("prediction", "held_out"):
    if made.get(part) and (old.get(part) or {}).get("envelope"):
      made[part] = made[part] | {"envelope": old[part]["envelope"]}
  (overlap,) = [one for one in old["verdict"]["reasons"] if one["name"] == "intervals_overlap"]
  judged = made["verdict"]
  reasons = [overlap if one["name"] == "intervals_overlap" else one for one in judged["reasons"]]
  made["verdict"] = {"credible": all(one["passed"] for one in reasons), "reasons": reasons}
  return made


def _merged(old: Mapping[str, Any], analysis: Mapping[str, Any]) -> dict[str, Any]:
  before = [one for one in old["verdict"]["reasons"] if one["name"] in _FROM_TRAINING]
  judged = analysis["verdict"]
  credible = bool(judged["credible"]) and all(one["passed"] for one in before)
  fresh = {name: value for name, value in analysis.items() if name in old}
  return {**old, **fresh, "verdict": {"credible": credible, "reasons": [*judged["reasons"], *before]}}


def _criteria(config: dict[str, Any]) -> Criteria:
  found: Criteria = from_dict(
    Criteria, json_reading.require_field(config, "criteria", dict, "results.json: config")
  )
  return found


def _rows(path: Path) -> list[dict[str, Any]]:
  try:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
  except (OSError, EOFError, ValueError) as error:  # ValueError: no UTF-8
    raise UserError(f"cannot read {path}: {error}") from error
  return json_lines.parse_rows(text, str(path))
