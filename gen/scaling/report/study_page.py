"""One HTML page about a study: verdict, prediction, frontier, valleys, residuals, intervals, runs, provenance.

The page holds all of itself (style, script, drawings) and asks no network for anything. Marks of runs answer to the
pointer by a small script; without scripts the same figures and tables stand there, with titles on the marks.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from gen.scaling.laws.approaches import TITLES
from gen.scaling.report import answer, corpora, inline, tables, view
from gen.scaling.report.curves import read_curves
from gen.scaling.report.sections import Section
from gen.scaling.report.view import ResultsView
from gen.training.run_log.rows import RowValues


class StateView(NamedTuple):
  """How the page shows an outcome: its class of style, its mark, and its word."""

  state: str
  mark: str
  word: str


class ReasonView(NamedTuple):
  """A criterion or a finding of an audit, as the page shows it."""

  name: str
  sentence: str
  state: str
  mark: str
  word: str


class VerdictView(NamedTuple):
  """A verdict as the page shows it; `credible` is None where nobody judged."""

  state: str
  title: str
  sentence: str
  reasons: list[ReasonView]
  credible: bool | None = None


class TileView(NamedTuple):
  """One of the numbers at the head of the page."""

  label: str
  value: str
  note: str


class RunView(NamedTuple):
  """A run, and what the page says of it: (name, fact) each."""

  name: str
  facts: list[tuple[str, str]]


STATES = {
  True: StateView("good", "✓", "met"),
  False: StateView("bad", "✗", "not met"),
  None: StateView("open", "?", "not judged"),
}
AUDIT_STATES = {
  "pass": STATES[True]._replace(word="pass"),
  "alarm": STATES[False]._replace(word="alarm"),
  "skip": STATES[None]._replace(word="skipped"),
}
_FIRST = {"bad": 0, "open": 1, "good": 2}  # what speaks against a study is read first


def write_page(
  results: Mapping[str, object],
  curves: Sequence[RowValues],
  folder: Path,
  figures: Mapping[str, Markup] | None = None,
) -> Path:
  """Writes report.html into a folder and returns its path.

  Args:
    results: what results.json holds; a part that is absent is said so in words.
    curves: rows of kind "train" of the sweep's journal.
    folder: made if need be.
    figures: panels by name that another page had, whose curves are not at hand.
  """
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / "report.html"
  path.write_text(
    render_page(results, curves, figures), encoding="utf-8", errors="replace"
  )  # a path may be no text
  return path


def render_page(
  results: Mapping[str, object],
  curves: Sequence[RowValues],
  figures: Mapping[str, Markup] | None = None,
) -> str:
  """Returns the page; arguments as of `write_page`."""
  study = view.read_results(results)
  environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
  environment.filters["plain"] = tables.format_value
  template = environment.from_string(_resource("report.html.jinja"))
  return template.render(_context(study, curves, figures or {}))


def _resource(name: str) -> str:
  return resources.files("gen.scaling.report").joinpath(name).read_text("utf-8")


def _context(
  study: ResultsView, curves: Sequence[RowValues], figures: Mapping[str, Markup]
) -> dict[str, object]:
  results = study.results
  runs = [
    RunView(str(run.get("name", index)), tables.run_facts(study, run)) for index, run in enumerate(study.runs)
  ]
  titles = ["\n".join([run.name, *(f"{name}: {fact}" for name, fact in run.facts)]) for run in runs]
  light, dark = inline.panel_palette(study)
  return {
    "name": str(results.get("name") or "study"),
    "facts": _facts(study),
    "answer": answer.answer_sentence(study),
    "verdict": _verdict(results),
    "audit": _audit(results),
    "tiles": _tiles(study),
    "missing": _missing(study),
    "of_sweep": not results.section("audit"),
    "has_curves": bool(curves),
    "panels": inline.page_panels(study, read_curves(study, curves), titles) | dict(figures),
    "captions": _captions(study),
    "prediction": tables.prediction_table(study),
    "no_prediction": "No approach gave a law, so nothing is predicted.",
    "held_out": tables.held_out_table(study),
    "intervals": tables.interval_table(study),
    "methods": tables.interval_methods(study),
    "parametric": tables.constants_table(study),
    "valleys": tables.valley_table(study),
    "compute": tables.compute_table(study),
    "leave_out": tables.leave_out_table(study),
    "warnings": tables.fit_warnings(study),
    "points": tables.runs_table(study),
    "corpora": corpora.corpora_table(study),
    "provenance": _provenance(results),
    "runs": [run._asdict() for run in runs],
    "light": light,
    "dark": dark,
    "css": Markup(_resource("report.css")),
    "script": Markup(_resource("report.js")),
  }


def _facts(study: ResultsView) -> list[str]:
  results = study.results
  total = sum(run.number("flops") or 0.0 for run in study.runs)
  facts = [f"{len(study.runs)} runs at {len(study.budgets)} budgets"]
  if total:
    spent = results.section("compute").number("spent_flops") or total
    facts.append(
      f"{tables.format_flops(total)} FLOPs"
      + (f" for {tables.format_flops(spent)} spent" if spent < 0.999 * total else "")
    )
  if seconds := results.number("seconds"):
    facts.append(f"{seconds / 60:.1f} minutes")
  name = results.section("corpus").get("name")
  created = str(results.get("created") or "")[:16].replace("T", " ")
  return facts + [str(value) for value in (name, created) if value]


def _verdict(results: Section) -> VerdictView:
  entry = results.section("verdict")
  credible = entry.get("credible")
  if not isinstance(credible, bool) and results.section("audit"):
    return _graded(results)
  if not isinstance(credible, bool):
    sentence = "The results hold no verdict, because the study was not judged."
    return VerdictView("open", "Not judged", sentence, [])
  reasons = [
    ReasonView(
      str(reason.get("name", "")).replace("_", " "),
      str(reason.get("sentence", "")),
      *STATES[passed if isinstance(passed := reason.get("passed"), bool) else None],
    )
    for reason in entry.sections("reasons")
  ]
  failed = sum(reason.state == "bad" for reason in reasons)
  sentence = (
    "All criteria, which were written down before the sweep, are met."
    if credible
    else f"{failed} of {len(reasons)} criteria, which were written down before the sweep, are not met."
  )
  title, state = ("Credible", "good") if credible else ("Not credible", "bad")
  return VerdictView(
    state, title, sentence, sorted(reasons, key=lambda reason: _FIRST[reason.state]), credible
  )


def _graded(results: Section) -> VerdictView:
  """Returns the audit's grade in the place of a verdict."""
  entry = results.section("audit")
  if "error" in entry:
    return VerdictView("bad", "Refused by the audit", str(entry["error"]), [])
  findings, alarms = _audit(results), entry.texts("alarms")
  sentence = (
    f"{len(alarms)} of {len(findings)} checks raise an alarm."
    if len(alarms) != 1
    else f"1 of {len(findings)} checks raises an alarm."
  )
  state = {"A": "good", "D": "bad"}.get(str(entry.get("grade")), "open")
  return VerdictView(state, f"Audit grade {entry.get('grade')}", sentence, [])


def _audit(results: Section) -> list[ReasonView]:
  """Returns the findings of the audit, alarms first; none where there was no audit."""
  findings = [
    ReasonView(
      str(finding.get("name", "")).replace("_", " "),
      str(finding.get("sentence", "")),
      *AUDIT_STATES.get(str(finding.get("status")), STATES[None]),
    )
    for finding in results.section("audit").sections("findings")
  ]
  order = {"alarm": 0, "pass": 1}
  return sorted(findings, key=lambda finding: order.get(finding.word, 2))


def _tiles(study: ResultsView) -> list[TileView]:
  """The four numbers that a reader looks for first, from the approach that answers."""
  name = next(
    (approach for approach in ("parametric", "isoflop", "envelope") if approach in study.laws), None
  )
  if name is None:
    return []
  law = study.laws[name]

  def note(reach: tuple[float, float] | None, write: Callable[[float], str] = tables.format_digits) -> str:
    title = f"approach {TITLES[name]}"
    return f"{title}, {study.level} {tables.format_interval(reach, write)}" if reach else title

  tiles = [TileView("exponent a of N*(C)", f"{law.a:.3f}", note(law.intervals.get("a")))]
  guess = study.predictions.get(name)
  if study.target and guess:
    at = f"at {tables.format_flops(study.target)} FLOPs"
    for letter, words in (("N", "parameters"), ("D", study.unit)):
      title = note(guess.intervals.get(letter), tables.format_count)
      tiles.append(TileView(f"optimal {words} {at}", tables.format_count(guess.values[letter]), title))
    if "loss" in guess.values:
      title = note(guess.intervals.get("loss"))
      tiles.append(TileView(f"loss {at} (nats)", f"{guess.values['loss']:.3f}", title))
  return tiles


def _missing(study: ResultsView) -> list[str]:
  """Returns sentences about missing parts of the page, with the reasons."""
  sentences = [f"Approach {TITLES[name]} gave no law: {study.absent[name]}"
          for name in TITLES if name in study.absent]  # fmt: skip
  if "valleys" in study.absent:
    sentences.append(f"There are no valleys: {study.absent['valleys']}")
  if "held_out" in study.absent:
    sentences.append("No budget was held out of the fits, so no prediction was tested.")
  return sentences


def _captions(study: ResultsView) -> dict[str, str]:
  caveat = (
    "D counts bytes here, Chinchilla's 20 counts tokens of about 4 bytes: the two are not the same quantity."
    if study.bytes
    else "How many tokens a text has depends on the tokenizer, so 20 here need not be Chinchilla's 20."
  )
  star = study.held_out_prediction
  residual = "Structure here means that the law is wrong; hollow marks were held out of the fit."
  return {
    "size": f"Optimal parameters against compute: the approaches with {study.level} bands, the minima of the "
    "IsoFLOP valleys (diamonds), every run (dots). Dashed: extrapolated.",
    "data": f"Optimal data against compute. {caveat}",
    "valleys": "Loss against size at equal compute: means over seeds, single seeds lighter, parabolas, and "
    "their minima (diamonds)."
    + (" A star is the optimum predicted for the held-out budget." if star else ""),
    "curves": "Training loss against compute, one line a run, coloured by size; dots are final validation losses. "
    "A heavy line is the envelope of approach 1.",
    "residuals_size": f"Measured over predicted loss against size. {residual}",
    "residuals_data": "The same against data.",
    "agreement": "Measured against predicted loss; on the line the law is exact.",
  }


def _provenance(results: Section) -> dict[str, object]:
  titles = {"corpus": "Corpus", "tokenizer": "Tokenizer", "versions": "Versions", "machine": "Machine",
            "seeds": "Seeds", "config": "Configuration"}  # fmt: skip
  return {title: results.get(key) if results.get(key) else "not recorded" for key, title in titles.items()}
