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
from gen.scaling import atlas_tables as tables
from gen.scaling.comparable import title
from gen.scaling.plots import atlas as figures
from gen.scaling.plots import inline
from gen.scaling.plots.view import listed, number, section
from gen.scaling.report import STATES

NAME = "report.html"


def write(results: Mapping[str, Any], folder: Path) -> Path:
  """Writes report.html into a folder, made if need be, and returns its path."""
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / NAME
  path.write_text(render(results), encoding="utf-8", errors="replace")  # a path may be no text
  return path


def render(results: Mapping[str, Any]) -> str:
  """Returns the page."""
  environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
  template = environment.from_string(_resource("atlas.html.jinja"))
  light, dark = inline.colours({**style.DARK, **figures.DARK})
  drawn = figures.panels(results)
  equal = section(results, "equal_loss")
  return template.render(
    name=str(results.get("name") or "atlas"),
    facts=_facts(results),
    sound=all(results["credible"].values()),
    credible=sum(results["credible"].values()),
    caution=results["caution"],
    families=[_verdict(name, one) for name, one in section(results, "families").items()],
    panels={name: inline.embed(svg, name, [], light) for name, svg in drawn.items()},
    laws=tables.laws(results),
    differences=tables.differences(results),
    intervals=results["intervals"],
    optima=tables.optima(results),
    equal_loss=tables.equal_loss(results),
    no_equal_loss=str(equal.get("error") or "The decoder and the LSTM are not both in this atlas."),
    comparable=tables.comparable(results),
    light=light,
    dark=dark,
    css=Markup(_resource("report.css")),
  )


def _resource(name: str) -> str:
  return resources.files("gen.scaling").joinpath(name).read_text("utf-8")


def _facts(results: Mapping[str, Any]) -> list[str]:
  runs = [run for one in section(results, "families").values() for run in listed(one, "points")]
  said = [f"{len(runs)} runs of {len(section(results, 'families'))} families"]
  said.append(f"{tables.flops(sum(number(run.get('flops')) or 0.0 for run in runs))} FLOPs")
  if seconds := number(results.get("seconds")):
    said.append(f"{seconds / 60:.1f} minutes")
  return [
    *said,
    str(section(results, "corpus").get("name")),
    str(results.get("created"))[:16].replace("T", " "),
  ]


def _verdict(name: str, family: Mapping[str, Any]) -> dict[str, Any]:
  verdict = section(family, "verdict")
  reasons = [
    {"name": reason["name"].replace("_", " "), "sentence": reason["sentence"]}
    | STATES[bool(reason["passed"])]
    for reason in sorted(listed(verdict, "reasons"), key=lambda one: bool(one["passed"]))
  ]
  return {"title": title(name), "credible": verdict.get("credible"), "reasons": reasons}
