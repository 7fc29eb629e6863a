"""One HTML page about an atlas of families: verdicts, laws, valleys, losses, ratios, equal loss, what may be compared.

The page holds all of itself (style and drawings), runs no script, and asks no network for anything.
"""

from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from gen.figures import style
from gen.scaling.atlas import atlas_figures, atlas_tables
from gen.scaling.atlas.atlas_records import AtlasResults, FamilyResults
from gen.scaling.atlas.comparable import family_title
from gen.scaling.report import inline
from gen.scaling.report.sections import finite_number
from gen.scaling.report.study_page import STATES, ReasonView, VerdictView

NAME = "report.html"


def write_page(results: AtlasResults, folder: Path) -> Path:
  """Writes report.html into a folder, made if need be, and returns its path."""
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / NAME
  path.write_text(render_page(results), encoding="utf-8", errors="replace")  # a path may be no text
  return path


def render_page(results: AtlasResults) -> str:
  """Returns the page."""
  environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
  template = environment.from_string(_resource("atlas.html.jinja"))
  light, dark = inline.theme_colours({**style.DARK, **atlas_figures.DARK})
  drawn = atlas_figures.page_panels(results)
  equal = results.equal_loss
  return template.render(
    name=results.name or "atlas",
    facts=_facts(results),
    sound=all(results.credible.values()),
    credible=sum(results.credible.values()),
    caution=results.caution,
    families=[_verdict(name, family) for name, family in results.families.items()],
    panels={name: inline.embed_svg(svg, name, [], light) for name, svg in drawn.items()},
    laws=atlas_tables.law_table(results),
    differences=atlas_tables.difference_table(results),
    intervals=results.intervals,
    optima=atlas_tables.optimum_table(results),
    equal_loss=atlas_tables.equal_loss(results),
    no_equal_loss=(equal and equal.error) or "The decoder and the LSTM are not both in this atlas.",
    comparable=atlas_tables.comparable_table(results),
    light=light,
    dark=dark,
    css=Markup(_resource("report.css")),
  )


def _resource(name: str) -> str:
  package = "gen.scaling.atlas" if name.startswith("atlas") else "gen.scaling.report"
  return resources.files(package).joinpath(name).read_text("utf-8")


def _facts(results: AtlasResults) -> list[str]:
  runs = [run for family in results.families.values() for run in family.points]
  facts = [f"{len(runs)} runs of {len(results.families)} families"]
  facts.append(f"{atlas_tables.format_flops(sum(finite_number(run.flops) or 0.0 for run in runs))} FLOPs")
  if seconds := finite_number(results.seconds):
    facts.append(f"{seconds / 60:.1f} minutes")
  return [*facts, results.corpus.name, results.created[:16].replace("T", " ")]


def _verdict(name: str, family: FamilyResults) -> VerdictView:
  reasons = [
    ReasonView(reason.name.replace("_", " "), reason.sentence, *STATES[reason.passed])
    for reason in sorted(family.verdict.reasons, key=lambda entry: entry.passed)
  ]
  return VerdictView("", family_title(name), "", reasons, family.verdict.credible)
