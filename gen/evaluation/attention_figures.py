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
MAX_LABELS = 60  # labelled tokens on an axis; chosen: more would overlap at the 6-point type of `_panel`
# Heads in a row of the figure: four panels of 1.8 inches fill a page.
COLUMNS = 4


def draw_layer(attention_map: AttentionMap, layer: int, path: Path) -> Path:
  """Writes a PNG of every head of a layer: dark is a large weight, rows are queries and columns are keys."""
  path.parent.mkdir(parents=True, exist_ok=True)
  weights_hts = attention_map.weights_lhts[layer]
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
      _panel(panel, weights_hts[head], attention_map, f"head {head + 1}")
    made.suptitle(f"{TITLES[attention_map.kind]}, layer {layer + 1}", fontweight="bold")
    made.savefig(path, dpi=style.DPI, metadata={"Software": None})
  return path


def _panel(axes: Axes, weights_ts: np.ndarray, attention_map: AttentionMap, title: str) -> None:
  axes.imshow(np.sqrt(weights_ts), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
  axes.grid(False)
  axes.set_title(title, fontsize=8, fontweight="normal")
  looks = {"fontsize": 6, "fontfamily": ["DejaVu Sans Mono"]}
  for which, tokens in (("x", attention_map.keys), ("y", attention_map.queries)):
    places = range(0, len(tokens), math.ceil(len(tokens) / MAX_LABELS))
    labels = [style.escape_mathtext(tokens[position]) for position in places]
    getattr(axes, f"set_{which}ticks")(list(places), labels, rotation=90 if which == "x" else 0, **looks)


def write_figures(maps: Sequence[AttentionMap], folder: Path) -> list[Path]:
  """Writes attention_KIND_layer_N.png of each kind and layer."""
  return [
    draw_layer(attention_map, layer, folder / f"attention_{attention_map.kind}_layer_{layer + 1}.png")
    for attention_map in maps
    for layer in range(attention_map.weights_lhts.shape[0])
  ]


def write_page(maps: Sequence[AttentionMap], path: Path, title: str, facts: Sequence[str]) -> Path:
  """Writes the page with all maps; weights are rounded to 1 / 65535."""
  data = [
    {
      "kind": attention_map.kind,
      "title": TITLES[attention_map.kind],
      "queries": attention_map.queries,
      "keys": attention_map.keys,
      "layers": attention_map.weights_lhts.shape[0],
      "heads": attention_map.weights_lhts.shape[1],
      "weights": page.encode_fractions(attention_map.weights_lhts),
    }
    for attention_map in maps
  ]
  return page.write_page(path, "attention", data, title=title, facts=facts)


def save_weights(maps: Sequence[AttentionMap], path: Path) -> Path:
  """Writes the float32 weights and their tokens as .npz: KIND_lhts, KIND_queries, KIND_keys."""
  path.parent.mkdir(parents=True, exist_ok=True)
  arrays: dict[str, np.ndarray] = {}
  for attention_map in maps:
    arrays[f"{attention_map.kind}_lhts"] = attention_map.weights_lhts
    arrays[f"{attention_map.kind}_queries"], arrays[f"{attention_map.kind}_keys"] = (
      np.array(attention_map.queries),
      np.array(attention_map.keys),
    )
  np.savez(path, **arrays)  # type: ignore[arg-type]
  return path
