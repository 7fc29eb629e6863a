"""Fits and judges a finished study again from the records of its runs, without training.

    results.json (runs, criteria) and journal.jsonl (curves), if there is one -> laws, predictions, verdict

The losses of the runs stay as they are. An atlas keeps what it says of valleys, which no law enters, and has each
family's laws and verdict made anew.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from markupsafe import Markup

from gen.config import Criteria, from_dict
from gen.errors import UserError
from gen.io import json_lines, json_reading, typed_json
from gen.scaling.atlas import atlas_records, atlas_study
from gen.scaling.runs import results_file, table_files
from gen.scaling.verdicts import verdict
from gen.scaling.verdicts.criteria import Verdict, make_verdict
from gen.scaling.verdicts.verdict import Analysis
from gen.training.run_log.rows import RowValues

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
  curves: list[RowValues]
  panels: dict[str, Markup]


def read_study(folder: Path) -> RecordedStudy:
  """Reads a study's folder.

  Raises:
    UserError: for a folder without results.json, a file that is damaged, and a journal with other losses.
  """
  path = folder / "results.json"
  results = json_reading.read_json(path)
  if not isinstance(results.get("points"), list) and not isinstance(results.get("families"), dict):
    raise UserError(f"{path} holds no runs (points, or the families of an atlas)")
  results_file.check_format(results, str(path))
  results_file.check_results(results, str(path))
  journal = next((folder / name for name in JOURNALS if (folder / name).exists()), None)
  rows = [] if journal is None else _rows(journal)
  losses = {row.get("run"): row.get("loss") for row in rows if row.get("kind") == "result"}
  for point in results.get("points") or []:
    if losses and losses.get(point.get("run")) != point.get("loss"):
      raise UserError(
        f"{folder}: results.json says loss {point.get('loss')} of {point.get('name')}, its journal "
        f"{losses.get(point.get('run'))}; give the two files of one study"
      )
  panels = _panels(folder / "report.html") if journal is None else {}
  return RecordedStudy(results, [row for row in rows if row.get("kind") == "train"], panels)


def reanalyse_study(recorded: RecordedStudy) -> dict[str, object]:
  """Returns the results with laws, predictions and verdict made anew by the study's own criteria and seed."""
  results = recorded.results
  config = json_reading.require_field(results, "config", dict, "results.json")
  before = verdict.read_analysis(results, "results.json")
  analysis = verdict.analyse_sweep(
    results["points"], recorded.curves, _criteria(config), bootstraps=int(config.get("bootstraps", 1000)),
    seed=int(config.get("seed", 0)),
  )  # fmt: skip
  if not recorded.curves:
    analysis = _with_recorded_curves(before, analysis)
  return _merged(results, before, analysis)


def reanalyse_atlas(recorded: RecordedStudy) -> dict[str, object]:
  """Returns an atlas' results with each family's laws and verdict made anew."""
  results = atlas_records.read_atlas(recorded.results, "results.json")
  config = results.config
  made = {}
  for name, family in results.families.items():
    sweep = json_reading.require_field(config, name, dict, "results.json: config")
    before = verdict.read_analysis(recorded.results["families"][name], f"results.json: families.{name}")
    analysis = verdict.analyse_sweep(
      recorded.results["families"][name]["points"], [], _criteria(sweep),
      bootstraps=json_reading.require_field({"bootstraps": 1000} | config, "bootstraps", int, "results.json: config"),
      seed=json_reading.require_field({"seed": 0} | config, "seed", int, "results.json: config"),
    )  # fmt: skip
    analysis = _with_recorded_curves(before, analysis)
    made[name] = dataclasses.replace(
      family,
      laws=atlas_study.without_curves(analysis.laws),
      verdict=_judged(before, analysis),
      held_out=analysis.held_out,
      leave_one_budget_out=analysis.leave_one_budget_out,
      seed_noise=analysis.seed_noise,
      left_out=analysis.left_out,
    )
  fresh = typed_json.encode_record(atlas_study.with_families(results, made))
  return {**recorded.results, **fresh}


def _panels(page: Path) -> dict[str, Markup]:
  """Returns the drawing of the training curves of a page that this project wrote."""
  if not page.exists():
    return {}
  match = re.search(r'<svg class="figure" data-figure="curves".*?</svg>', page.read_text("utf-8"), re.DOTALL)
  return {"curves": Markup(match.group(0))} if match else {}


def _with_recorded_curves(before: Analysis, analysis: Analysis) -> Analysis:
  """Returns an analysis without curves with approach 1 as it was recorded, if it was read from curves.

  Raises:
    UserError: where the other approaches' intervals have moved, to which approach 1's are compared.
  """
  if before.laws.envelope.form != "curves":
    return analysis
  for name in ("isoflop", "parametric"):
    was, now = ((getattr(reason.laws, name).ci90 or {}).get("a") for reason in (before, analysis))
    # 1e-6: the same draws on another machine differ by rounding.
    if was is None or now is None or max(abs(x - y) for x, y in zip(was, now, strict=True)) > 1e-6:
      raise UserError(
        "approach 1 of this study was read from training curves; give its journal.jsonl as well"
      )
  prediction, held_out = analysis.prediction, analysis.held_out
  if prediction.flops is not None and before.prediction.envelope is not None:
    prediction = dataclasses.replace(prediction, envelope=before.prediction.envelope)
  if held_out is not None and before.held_out is not None and before.held_out.envelope is not None:
    held_out = dataclasses.replace(held_out, envelope=before.held_out.envelope)
  (overlap,) = [reason for reason in before.verdict.reasons if reason.name == "intervals_overlap"]
  return dataclasses.replace(
    analysis,
    laws=dataclasses.replace(analysis.laws, envelope=before.laws.envelope),
    prediction=prediction,
    held_out=held_out,
    verdict=make_verdict(
      [overlap if reason.name == overlap.name else reason for reason in analysis.verdict.reasons]
    ),
  )


def _merged(old: Mapping[str, object], before: Analysis, analysis: Analysis) -> dict[str, object]:
  """Returns results with the parts of an analysis that they held before, and what training says in the verdict."""
  fresh = typed_json.encode_record(dataclasses.replace(analysis, verdict=_judged(before, analysis)))
  return {**old, **{name: value for name, value in fresh.items() if name in old}}


def _judged(before: Analysis, analysis: Analysis) -> Verdict:
  """Returns the verdict of an analysis, with what training said before."""
  of_training = [reason for reason in before.verdict.reasons if reason.name in _FROM_TRAINING]
  return make_verdict([*analysis.verdict.reasons, *of_training])


def _criteria(config: Mapping[str, object]) -> Criteria:
  criteria: Criteria = from_dict(
    Criteria, json_reading.require_field(config, "criteria", dict, "results.json: config")
  )
  return criteria


def _rows(path: Path) -> list[RowValues]:
  return cast(list[RowValues], json_lines.parse_rows(table_files.text_of(path), str(path)))
