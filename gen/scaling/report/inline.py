"""Panels as SVG inside a page: nothing from outside, the page's own colours, each run's mark named by its index."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from markupsafe import Markup, escape
from matplotlib.axes import Axes

from gen.figures import style
from gen.scaling.report import curves, frontier, residuals, valleys
from gen.scaling.report.view import ResultsView

_HEX = re.compile(r"#[0-9a-f]{6}\b")
_RUN = re.compile(r'<g id="run-(\d+)">')
_LINE = re.compile(r'<g id="line-(\d+)">')
_IDS = re.compile(r'(\bid="|href="#|url\(#)')


def page_panels(
  view: ResultsView, lines: Sequence[curves.TrainingCurve], titles: Sequence[str]
) -> dict[str, Markup]:
  """Draws every panel of a study by itself, at the width of a column.

  Args:
    view: the study.
    lines: its loss curves.
    titles: one a run; what a browser without scripts shows over the run's mark.

  Returns:
    SVG elements by name: valleys, size, data, curves, residuals_size, residuals_data, agreement.
  """
  drawings: dict[str, Callable[[Axes], None]] = {
    "valleys": lambda axes: valleys.draw_valleys(axes, view),
    "size": lambda axes: frontier.draw_frontier(axes, view, "N"),
    "data": lambda axes: frontier.draw_frontier(axes, view, "D"),
    "curves": lambda axes: curves.draw_curves(axes, view, lines),
    "residuals_size": lambda axes: residuals.draw_residuals(axes, view, "N"),
    "residuals_data": lambda axes: residuals.draw_residuals(axes, view, "D"),
    "agreement": lambda axes: residuals.draw_agreement(axes, view),
  }
  made, known = {}, set(panel_palette(view)[0])
  with style.paper_style():
    for name, draw in drawings.items():
      figure, (axes,) = style.new_figure(4.0, 3.2)
      draw(axes)
      made[name] = embed_svg(style.to_svg(figure, name), name, titles, known)
  return made


def embed_svg(svg: str, name: str, titles: Sequence[str], known: Collection[str]) -> Markup:
  """Turns matplotlib's SVG document into an element that can stand beside others in one page.

  Args:
    svg: the document.
    name: of the element, and the prefix of all ids in it.
    titles: one a run.
    known: names of the colours (`panel_palette`) that the page sets.
  """
  svg = svg[svg.index("<svg") :]
  svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
  box = re.search(r'viewBox="[^"]*"', svg)
  head = f'<svg class="figure" data-figure="{name}" {box.group(0) if box else ""}>'
  svg = head + svg[svg.index(">") + 1 :]
  svg = svg.replace("xlink:href", "href")
  svg = _RUN.sub(lambda match: _mark(int(match.group(1)), titles), svg)
  svg = _LINE.sub(r'<g class="line" data-run="\1">', svg)
  svg = _IDS.sub(rf"\g<1>{name}-", svg)
  svg = _HEX.sub(
    lambda match: f"var({key})" if (key := f"--k{match.group(0)[1:]}") in known else match.group(0), svg
  )
  return Markup(re.sub(r"\n\s*", "\n", svg))


def _mark(index: int, titles: Sequence[str]) -> str:
  return f'<g class="run" data-run="{index}"><title>{escape(titles[index])}</title>'


def panel_palette(view: ResultsView) -> tuple[dict[str, str], dict[str, str]]:
  """Returns the colours of all panels by the names they carry in a page, for a light and a dark ground."""
  return theme_colours(view.budget_ramp.dark | view.size_ramp.dark | style.DARK)


def theme_colours(night: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
  """Returns the names of colours in a page with what they are by day, and what they become by night."""
  return {f"--k{day[1:]}": day for day in night}, {f"--k{day[1:]}": dark for day, dark in night.items()}
