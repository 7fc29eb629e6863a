"""States a study's answer in one sentence: the model, tokens and budget, and whether the result is credible."""

import math
from typing import Any

import numpy as np

from gen.scaling.laws.approaches import TITLES
from gen.scaling.report import tables
from gen.scaling.report.sections import Section
from gen.scaling.report.view import ResultsView

_REFUSED = "not credible"


def answering_approach(study: ResultsView) -> str | None:
  """Returns the approach that answers: the parametric law, or the best that there is."""
  return next(
    (approach for approach in ("parametric", "isoflop", "envelope") if approach in study.predictions), None
  )


def answer_sentence(study: ResultsView) -> str:
  """Returns the answer; where there is none, why. The verdict comes first where it is against the answer."""
  name = answering_approach(study)
  if name is None or not study.target:
    why = next(iter(study.absent.values()), "no run has finished")
    return f"There is no answer: {why.rstrip('.')}."
  guess = study.predictions[name]
  params, tokens = guess.values["N"], guess.values["D"]
  reach = guess.intervals.get("N")
  spread = (
    f"; {study.level} interval of N {tables.format_interval(reach, tables.format_count)}" if reach else ""
  )
  beyond = ", beyond the sizes trained" if _beyond(study, params) else ""
  model = f"{tables.format_count(params)} parameters{_shape(study, params)}"
  belief = _belief(study)
  fitted = f"on {tables.format_count(tokens)} {study.unit} (approach {TITLES[name]}{spread}{beyond})"
  if belief.startswith(_REFUSED):
    budget = tables.format_flops(study.target)
    return f"N{belief[1:]}: the curve would have a model of {model} {fitted} for {budget} FLOPs."
  return f"For {tables.format_flops(study.target)} FLOPs, train a model of {model} {fitted}: {belief}."


def _belief(study: ResultsView) -> str:
  verdict = study.results.section("verdict")
  reasons = verdict.sections("reasons")
  if not isinstance(verdict.get("credible"), bool):
    if audit := study.results.section("audit"):
      return _audited(audit)
    return "no verdict was recorded"
  if verdict["credible"]:
    return f"credible, all {len(reasons)} criteria are met"
  failed = [str(reason.get("name")).replace("_", " ") for reason in reasons if reason.get("passed") is False]
  names = ", ".join(failed[:3]) + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
  return f"not credible, {len(failed)} of {len(reasons)} criteria not met ({names})"


def _audited(audit: Section) -> str:
  if "error" in audit:
    return "not credible, because the audit refuses the study"
  alarms = [name.replace("_", " ") for name in audit.texts("alarms")]
  sentence = f"the audit gives grade {audit.get('grade')}"
  return f"{sentence}, {_some(alarms, 'alarm')}" if alarms else f"{sentence}, no alarm"


def _some(names: list[str], what: str) -> str:
  more = f" and {len(names) - 3} more" if len(names) > 3 else ""
  return f"{len(names)} {what}{'s' * (len(names) != 1)} ({', '.join(names[:3])}{more})"


def _beyond(study: ResultsView, params: float) -> bool:
  sizes = [size for run in study.runs if (size := run.number("params"))]
  return bool(sizes) and not min(sizes) <= params <= max(sizes)


def _shape(study: ResultsView, params: float) -> str:
  """Returns the width that runs of one depth have at a size, in words; nothing where they do not tell."""
  known = {(run.number("params"), run.number("width")) for run in study.runs}
  depths = {run.get("depth") for run in study.runs}
  pairs: Any = sorted(pair for pair in known if None not in pair)
  if len(depths) != 1 or None in depths or len(pairs) < 2 or len({pair[0] for pair in pairs}) < len(pairs):
    return ""
  log_n, log_width = np.log(np.array(pairs, float)).T
  i = int(np.clip(np.searchsorted(log_n, math.log(params)), 1, len(log_n) - 1))
  slope = (log_width[i] - log_width[i - 1]) / (log_n[i] - log_n[i - 1])
  width = math.exp(log_width[i] + slope * (math.log(params) - log_n[i]))
  return f" (width about {width:.0f}, depth {depths.pop()})"
