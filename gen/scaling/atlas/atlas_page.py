"""One HTML page about an atlas of families: verdicts, laws, valleys, losses, ratios, equal loss, what may be compared.

The page holds all of itself (style and drawings), runs no script, and asks no network for anything.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from gen.figures import style
from gen.scaling.atlas import atlas_figures, atlas_tables
from gen.scaling.atlas.comparable import family_title
from gen.scaling.report import inline
from gen.scaling.report.study_page import STATES
from gen.scaling.report.view import finite_number, read_list, read_section

NAME = "report.html"


def write_page(results: Mapping[str, Any], folder: Path) -> Path:
  """Writes report.html into a folder, made if need be, and returns its path."""
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / NAME
  path.write_text(render_page(results), encoding="utf-8", errors="replace")  # a path may be no text
  return path


def render_page(results: Mapping[str, Any]) -> str:
  """Returns the page."""
  environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
  template = environment.from_string(_resource("atlas.html.jinja"))
  light, dark = inline.theme_colours({**style.DARK, **atlas_figures.DARK})
  drawn = atlas_figures.page_panels(results)
  equal = read_section(results, "equal_loss")
  return template.render(
    name=str(results.get("name") or "atlas"),
    facts=_facts(results),
    sound=all(results["credible"].values()),
    credible=sum(results["credible"].values()),
    caution=results["caution"],
    families=[_verdict(name, family) for name, family in read_section(results, "families").items()],
    panels={name: inline.embed_svg(svg, name, [], light) for name, svg in drawn.items()},
    laws=atlas_tables.law_table(results),
    differences=atlas_tables.difference_table(results),
    intervals=results["intervals"],
    optima=atlas_tables.optimum_table(results),
    equal_loss=atlas_tables.equal_loss(results),
    no_equal_loss=str(equal.get("error") or "The decoder and the LSTM are not both in this atlas."),
    comparable=atlas_tables.comparable_table(results),
    light=light,
    dark=dark,
    css=Markup(_resource("report.css")),
  )


def _resource(name: str) -> str:
  package = "gen.scaling.atlas" if name.startswith("atlas") else "gen.scaling.report"
  return resources.files(package).joinpath(name).read_text("utf-8")


def _facts(results: Mapping[str, Any]) -> list[str]:
  runs = [run for family in read_section(results, "families").values() for run in read_list(family, "points")]
  facts = [f"{len(runs)} runs of {len(read_section(results, 'families'))} families"]
  facts.append(
    f"{atlas_tables.format_flops(sum(finite_number(run.get('flops')) or 0.0 for run in runs))} FLOPs"
  )
  if seconds := finite_number(results.get("seconds")):
    facts.append(f"{seconds / 60:.1f} minutes")
  return [
    *facts,
    str(read_section(results, "corpus").get("name")),
    str(results.get("created"))[:16].replace("T", " "),
  ]


def _verdict(name: str, family: Mapping[str, Any]) -> dict[str, Any]:
  verdict = read_section(family, "verdict")
  reasons = [
    {"name": reason["name"].replace("_", " "), "sentence": reason["sentence"]}
    | STATES[bool(reason["passed"])]
    for reason in sorted(read_list(verdict, "reasons"), key=lambda entry: bool(entry["passed"]))
  ]
  return {"title": family_title(name), "credible": verdict.get("credible"), "reasons": reasons}
