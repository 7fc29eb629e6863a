"""Writes an HTML page as one file with style, script and data, which loads nothing from a network."""

import base64
import functools
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup


def write_page(path: Path, name: str, data: Any, **context: Any) -> Path:
  """Writes a page from this package's NAME.html.jinja, NAME.js and page.css.

  Args:
    path: the file; its folder is created if absent.
    name: of the page.
    data: the script's variable `data`; JSON-compatible.
    context: variables of the template.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  # "replace", because a path in the data may not be valid UTF-8.
  path.write_text(render_page(name, data, **context), encoding="utf-8", errors="replace")
  return path


def render_page(name: str, data: Any, **context: Any) -> str:
  """Returns a page; arguments as in `write_page`."""
  loader = jinja2.FunctionLoader(_resource)
  environment = jinja2.Environment(
    loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
  )
  # "<" is escaped, so that a "</script>" in the data does not end the script.
  text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
  script = f"const data = {text};\n{_resource(f'{name}.js')}"
  css = Markup(_resource("page.css"))
  return environment.get_template(f"{name}.html.jinja").render(css=css, script=Markup(script), **context)


def encode_fractions(values: np.ndarray) -> str:
  """Returns numbers from 0 to 1 as base64 of little-endian 16-bit multiples of 1 / 65535."""
  return base64.b64encode(np.round(np.asarray(values) * 65535).astype("<u2").tobytes()).decode()


@functools.cache
def _resource(name: str) -> str:
  return resources.files("gen.figures").joinpath(name).read_text("utf-8")
