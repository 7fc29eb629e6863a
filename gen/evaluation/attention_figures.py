"""Attention maps as figures, one per kind and layer, and as one interactive page.

L depth, H heads, T query, S key.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from gen.evaluation.attention_maps import AttentionMap
from gen.figures import page, style

TITLES = {"self": "Self-attention", "source": "Self-attention of the encoder", "cross": "Cross attention"}
MAX_LABELS = 60  # maximum number of labelled tokens on an axis
COLUMNS = 4


def draw_layer(one: AttentionMap, layer: int, path: Path) -> Path:
  """Writes a PNG of every head of a layer: dark is a large weight, rows are queries and columns are keys."""
  path.parent.mkdir(parents=True, exist_ok=True)
  weights_hts = one.weights_lhts[layer]
  heads, queries, keys = weights_hts.shape
  columns = min(COLUMNS, heads)
  rows = math.ceil(heads / columns)
  wide, tall = (min(6.0, max(1.8, 0.13 * count + 0.8)) for count in (keys, queries))
  with style.paper_style():
    made, _ = style.new_figure(wide * columns, tall * rows + 0.4)
    made.clear()
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for head, panel in enumerate(axes):
      if head >= heads:
        panel.set_axis_off()
        continue
      _panel(panel, weights_hts[head], one, f"head {head + 1}")
    made.suptitle(f"{TITLES[one.kind]}, layer {layer + 1}", fontweight="bold")
    made.savefig(path, dpi=style.DPI, metadata={"Software": None})
  return path


def _panel(axes: Axes, weights_ts: np.ndarray, one: AttentionMap, title: str) -> None:
  axes.imshow(np.sqrt(weights_ts), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
  axes.grid(False)
  axes.set_title(title, fontsize=8, fontweight="normal")
  looks = {"fontsize": 6, "fontfamily": ["DejaVu Sans Mono"]}
  for which, tokens in (("x", one.keys), ("y", one.queries)):
    places = range(0, len(tokens), math.ceil(len(tokens) / MAX_LABELS))
    labels = [style.escape_mathtext(tokens[place]) for place in places]
    getattr(axes, f"set_{which}ticks")(list(places), labels, rotation=90 if which == "x" else 0, **looks)


def write_figures(maps: Sequence[AttentionMap], folder: Path) -> list[Path]:
  """Writes attention_KIND_layer_N.png of each kind and layer."""
  return [
    draw_layer(one, layer, folder / f"attention_{one.kind}_layer_{layer + 1}.png")
    for one in maps
    for layer in range(one.weights_lhts.shape[0])
  ]


def write_page(maps: Sequence[AttentionMap], path: Path, title: str, facts: Sequence[str]) -> Path:
  """Writes the page with all maps; weights are rounded to 1 / 65535."""
  data = [
    {
      "kind": one.kind,
      "title": TITLES[one.kind],
      "queries": one.queries,
      "keys": one.keys,
      "layers": one.weights_lhts.shape[0],
      "heads": one.weights_lhts.shape[1],
      "weights": page.encode_fractions(one.weights_lhts),
    }
    for one in maps
  ]
  return page.write_page(path, "attention", data, title=title, facts=facts)


def save_weights(maps: Sequence[AttentionMap], path: Path) -> Path:
  """Writes the float32 weights and their tokens as .npz: KIND_lhts, KIND_queries, KIND_keys."""
  path.parent.mkdir(parents=True, exist_ok=True)
  arrays: dict[str, np.ndarray] = {}
  for one in maps:
    arrays[f"{one.kind}_lhts"] = one.weights_lhts
    arrays[f"{one.kind}_queries"], arrays[f"{one.kind}_keys"] = np.array(one.queries), np.array(one.keys)
  np.savez(path, **arrays)  # type: ignore[arg-type]
  return path
