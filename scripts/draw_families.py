"""Draws the three model families side by side from the code's own configs: docs/figures/families.png.

  uv run scripts/draw_families.py

Masks, objectives and the order of norms are computed by `gen`, not drawn by hand.
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import family_sample
import jax.numpy as jnp
import numpy as np
from family_sample import Family, words
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

from gen import counts, presets
from gen.cli import terminal
from gen.config import Model
from gen.models import layers, transformer

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs/figures/families.png"
INK, MUTED, PAPER = "#22262e", "#6a7180", "#ffffff"
COLORS = {  # of the parts of a block; the same in towers, masks and texts
  "embedding": "#dfe3e8",
  "norm": "#f6e3b4",
  "self": "#a9cfe8",
  "cross": "#d9c2e9",
  "feed": "#b9e0c5",
  "head": "#cfd4db",
}
LOSS = "#f3b8a5"


def write(ax: Axes, x: float, y: float, text: str, size: float = 8, color: str = INK, **more: Any) -> None:
  """Writes text, centred by default."""
  ax.text(x, y, text, fontsize=size, color=color, **({"ha": "center", "va": "center"} | more))


class Box(NamedTuple):
  """One step of a tower: its kind, and what stands in it."""

  kind: str
  text: str


def norm_name(model: Model) -> str:
  """Returns the norm's name, with whether it has a bias."""
  return "RMSNorm" if model.norm == "rmsnorm" else "LayerNorm"


def embeddings(model: Model) -> list[Box]:
  """Returns the boxes before the first block."""
  parts = ["tokens"]
  parts += [f"{model.positions} positions"] if model.positions in ("learned", "sinusoidal") else []
  parts += ["sentence types"] if model.token_types else []
  text = " + ".join(parts)
  boxes = [Box("embedding", text if len(text) < 32 else "\n+ ".join(text.rsplit(" + ", 1)))]
  return boxes + ([Box("norm", norm_name(model))] if model.embedding_norm else [])


def branches(model: Model, causal: bool, cross: bool) -> list[Box]:
  """Returns the residual branches of one block, each from its entrance to its exit."""
  scheme = {"relative": ", relative buckets", "alibi": ", ALiBi", "rotary": ", rotary"}.get(
    model.positions, ""
  )
  mask = "causal" if causal else "bidirectional"
  heads = f"{model.n_heads} heads of {model.head_width}"
  bodies = [Box("self", f"self-attention, {mask}\n{heads}{scheme}")]
  bodies += [Box("cross", f"cross-attention to the source\n{heads}")] if cross else []
  bodies += [Box("feed", f"feed-forward {model.feed_forward_width:,}\n{model.activation}")]
  return bodies


def head(model: Model) -> list[Box]:
  """Returns the boxes after the last block of the stack that predicts."""
  boxes = [Box("norm", norm_name(model))] if model.norm_placement == "pre" and model.final_norm else []
  matrix = "logits (tied to the embedding)" if model.tied else "logits (untied)"
  return [*boxes, Box("head", matrix)]


def draw_box(ax: Axes, y: float, box: Box, height: float) -> None:
  """Draws a box of width 1 around x = 0.5."""
  shape = FancyBboxPatch(
    (0.0, y), 1.0, height, boxstyle="round,pad=0,rounding_size=0.04", mutation_aspect=0.55,
    facecolor=COLORS[box.kind], edgecolor="none",
  )  # fmt: skip
  ax.add_patch(shape)
  write(ax, 0.5, y + height / 2, box.text, linespacing=1.3, size=7.6)


def arrow(ax: Axes, low: float, high: float) -> None:
  """Draws the residual stream from one box to the next."""
  ax.plot([0.5, 0.5], [low, high], color=MUTED, lw=1, zorder=0)


def draw_branch(ax: Axes, y: float, body: Box, model: Model) -> float:
  """Draws a residual branch with its norm where it belongs; returns where it ends, and the middle of its body."""
  norm, gap = Box("norm", norm_name(model)), 0.14
  begin = y
  order = [norm, body] if model.norm_placement == "pre" else [body]
  for box in order:
    height = 0.26 if box.kind == "norm" else 0.5
    arrow(ax, y, y + gap)
    draw_box(ax, y + gap, box, height)
    y += gap + height
  arrow(ax, y, y + 0.24)
  ax.plot(
    [0.5, 1.06, 1.06, 0.53],
    [begin + 0.07, begin + 0.07, y + 0.16, y + 0.16],
    color=MUTED,
    lw=1,
    clip_on=False,
  )
  ax.plot(0.5, y + 0.16, marker="o", ms=8, mfc=PAPER, mec=MUTED, mew=1)
  write(ax, 0.5, y + 0.155, "+")
  y += 0.24
  if model.norm_placement == "post":
    arrow(ax, y, y + gap)
    draw_box(ax, y + gap, norm, 0.26)
    y += gap + 0.26
  return y


def draw_tower(
  ax: Axes, model: Model, reads: str, causal: bool, cross: bool, predicts: str
) -> dict[str, float]:
  """Draws a stack from its input up; returns the heights of what others point at."""
  ax.set(xlim=(-0.1, 1.14), ylim=(0, 6.25))
  ax.axis("off")
  write(ax, 0.5, 0.0, reads, va="bottom", style="italic", color=MUTED)
  y, at = 0.24, {}
  for box in embeddings(model):
    height = 0.44 if "\n" in box.text else 0.28
    arrow(ax, y, y + 0.12)
    draw_box(ax, y + 0.12, box, height)
    y += 0.12 + height
  begin = y + 0.06
  for body in branches(model, causal, cross):
    at[body.kind] = y + (0.14 if model.norm_placement == "post" else 0.54) + 0.25
    y = draw_branch(ax, y, body, model)
  depth = model.target_depth if causal or cross else model.depth
  frame = Rectangle(
    (-0.07, begin), 1.2, y + 0.07 - begin, facecolor="none", edgecolor="#b6bcc6", lw=0.9, ls=(0, (4, 2))
  )
  ax.add_patch(frame)
  write(ax, -0.07, y + 0.1, f"× {depth}", ha="left", va="bottom", weight="bold", size=9)
  arrow(ax, y, y + 0.25)
  y += 0.25
  top = head(model) if predicts else head(model)[:-1]
  for box in top:
    arrow(ax, y, y + 0.16)
    draw_box(ax, y + 0.16, box, 0.28)
    y += 0.44
  arrow(ax, y, y + 0.1)
  at["top"] = y + 0.1
  if predicts:
    write(ax, 0.5, y + 0.12, predicts, va="bottom", style="italic", color=MUTED)
  return at


def open_ts(queries: np.ndarray, keys: np.ndarray, causal: bool) -> np.ndarray:
  """Returns where the model's own mask lets a query look."""
  return (
    np.asarray(transformer.attention_mask(jnp.asarray(queries[None]), jnp.asarray(keys[None]), causal))[0, 0]
    == 0
  )


def strengths(model: Model, places: np.ndarray, causal: bool) -> np.ndarray:
  """Returns how strong a cell is drawn: by the distance's bucket where the model has buckets, else alike."""
  distance_ts = places[None, :] - places[:, None]
  if model.positions != "relative":
    return np.ones(distance_ts.shape)
  sizes = (model.relative_buckets, model.relative_distance, not causal)
  buckets_ts = np.asarray(layers.relative_buckets(distance_ts[None], *sizes))[0]
  return 1 - 0.72 * (buckets_ts % (sizes[0] // (1 if causal else 2))) / 9


def draw_mask(
  ax: Axes, strong_ts: np.ndarray, kind: str, rows: Sequence[str], columns: Sequence[str], title: str
) -> None:
  """Draws an attention mask: rows are queries, columns are keys; 0 is masked."""
  height, width = strong_ts.shape
  for t, s in np.ndindex(height, width):
    color = (COLORS[kind], min(1.0, strong_ts[t, s])) if strong_ts[t, s] > 0 else "#f4f5f7"
    ax.add_patch(Rectangle((s + 0.05, t + 0.05), 0.9, 0.9, facecolor=color, edgecolor="none"))
  ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
  ax.set_xticks(np.arange(width) + 0.5, columns, rotation=90, fontsize=6.5, color=INK)
  ax.set_yticks(np.arange(height) + 0.5, rows, fontsize=6.5, color=INK)
  ax.tick_params(length=0, pad=1.5)
  ax.spines[:].set_visible(False)
  ax.set_title(title, fontsize=8.5, color=INK, pad=5)


def draw_masks(axes: Sequence[Axes], made: tuple[Family, ...]) -> None:
  """Draws the attention masks of the sample's rows; tokens do not attend to the other document."""
  for ax, family, kind in zip(axes, made[:2], ("bidirectional", "causal"), strict=False):
    segments_t, names = family.batch.segments_bt, words(family.batch.inputs_bt)
    causal = family.model.family == "decoder"
    seen_ts = open_ts(segments_t, segments_t, causal) * strengths(
      family.model, family.batch.positions_bt, causal
    )
    draw_mask(ax, seen_ts, "self", names, names, f"self-attention, {kind}")
  batch, model = made[2].batch, made[2].model
  source, target = words(batch.source_bs), words(batch.inputs_bt)
  s, t = batch.source_segments_bs, batch.segments_bt
  seen_ss = open_ts(s, s, False) * strengths(model, batch.source_positions_bs, False)
  seen_tt = open_ts(t, t, True) * strengths(model, batch.positions_bt, True)
  draw_mask(axes[2], seen_ss, "self", source, source, "source, bidirectional")
  draw_mask(axes[3], seen_tt, "self", target, target, "target, causal")
  draw_mask(axes[4], open_ts(t, s, False) * 1.0, "cross", target, source, "cross-attention")


def draw_row(ax: Axes, y: float, label: str, ids: np.ndarray, faces: Sequence[str]) -> None:
  """Draws ids as chips of these colours; none where the colour is empty."""
  write(ax, -0.15, y + 0.4, label, ha="right", color=MUTED)
  for x, (name, face) in enumerate(zip(words(ids), faces, strict=True)):
    if face:
      rounded = "round,pad=0,rounding_size=0.12"
      ax.add_patch(
        FancyBboxPatch((x + 0.04, y), 0.92, 0.8, boxstyle=rounded, facecolor=face, edgecolor="none")
      )
      write(ax, x + 0.5, y + 0.4, name, size=7.5)


def draw_text(ax: Axes, family: Family) -> None:
  """Draws the inputs of a family and, below them, the targets at positions with a loss."""
  batch, rows = family.batch, 2
  has_loss, is_corrupted = (
    batch.weights_bt > 0,
    np.isin(batch.inputs_bt, (family_sample.MASK, *family_sample.SPECIALS.sentinels)),
  )
  if family.objective == "masked":
    is_corrupted |= has_loss & (batch.inputs_bt != batch.targets_bt)

  def faces(segments: np.ndarray, strong: np.ndarray) -> list[str]:
    plain = ["#eef0f3" if segment % 2 else "#e2e5ea" for segment in segments]
    return [COLORS["cross"] if s else face for s, face in zip(strong, plain, strict=True)]

  if batch.source_bs is not None:
    marks = np.isin(batch.source_bs, family_sample.SPECIALS.sentinels)
    draw_row(ax, 0, "source", batch.source_bs, faces(batch.source_segments_bs, marks))
    rows = 3
  draw_row(ax, rows - 2, "inputs", batch.inputs_bt, faces(batch.segments_bt, is_corrupted))
  draw_row(ax, rows - 1, "targets", batch.targets_bt, [LOSS if loss else "" for loss in has_loss])
  ax.set(xlim=(-1.4, 17), ylim=(rows, -0.1))
  ax.axis("off")


def draw() -> Figure:
  """Returns the figure: towers, masks, texts."""
  made = family_sample.families()
  figure = Figure(figsize=(12, 12.2), facecolor=PAPER)
  FigureCanvasAgg(figure)
  width, left = 0.19, 0.035
  columns = [left + index * (width + 0.003) for index in range(5)]
  tower_at = (columns[0], columns[1], columns[2] + 0.02, columns[4] - 0.07)
  towers = [figure.add_axes((x, 0.5, width, 0.45)) for x in tower_at]
  bert, gpt, t5 = (family.model for family in made)
  draw_tower(towers[0], bert, "a text with masked tokens", False, False, "the masked tokens")
  draw_tower(towers[1], gpt, "a text", True, False, "the next token")
  source = draw_tower(towers[2], t5, "a source with masked spans", False, False, "")
  target = draw_tower(towers[3], t5, "the target so far", True, True, "the next token of the target")
  join(figure, towers[2], source["top"], towers[3], target["cross"])
  for family, x, span in zip(made, (columns[0], columns[1], columns[2]), (1, 1, 3), strict=True):
    middle = x + (span * width + (span - 1) * 0.003) / 2
    figure.text(middle, 0.985, family.title, ha="center", va="top", fontsize=14, color=INK, weight="bold")
    figure.text(
      x + 0.022, 0.955, facts(family), ha="left", va="top", fontsize=8, color=MUTED, linespacing=1.5
    )
  masks = [figure.add_axes((x + 0.042, 0.275, width - 0.048, 0.165)) for x in columns]
  draw_masks(masks, made)
  heading(figure, left, 0.468, "Attention masks",
          "rows are queries, columns are keys; two documents are packed in one row and masked from each other;"
          " paler: a bucket of larger distance")  # fmt: skip
  draw_texts(figure, made, left)
  return figure


def heading(figure: Figure, x: float, y: float, title: str, note: str) -> None:
  """Writes a heading with a note behind it."""
  made = figure.text(x, y, title, fontsize=10, color=INK, weight="bold")
  box = made.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
  end = figure.transFigure.inverted().transform((box.x1, 0))[0]
  figure.text(end + 0.012, y, note, fontsize=8, color=MUTED)


def facts(family: Family) -> str:
  """Returns what a preset sets, in a few lines."""
  model = family.model
  scale = f"embeddings × {model.embedding_scale:.3g}, " if model.embedding_scale != 1 else ""
  scale += f"hidden states × {model.logits_scale:.3g} before logits" if model.logits_scale != 1 else ""
  lines = [
    f"{family.preset}: {counts.count_parameters(model).total:,} parameters",
    f"width {model.width}, {model.vocab:,} tokens",
    f"{model.norm_placement}-norm, {'biases' if model.bias else 'no biases'}",
    f"positions: {model.positions}",
    f"objective: {presets.get_objective(family.preset)}",
    scale,
  ]
  return "\n".join(filter(None, lines))


def draw_texts(figure: Figure, made: tuple[Family, ...], left: float) -> None:
  """Draws the rows of tokens of each family below one another."""
  note = (
    "violet: changed by the objective; red: has a loss; <0>, <1>: sentinels; more corruption than the default"
  )
  heading(figure, left, 0.212, "Inputs and targets", note)
  heights = (2, 2, 3)
  top = 0.198
  for family, rows in zip(made, heights, strict=True):
    share = 0.0235 * rows
    ax = figure.add_axes((left + 0.09, top - share, 0.86, share))
    draw_text(ax, family)
    figure.text(
      left, top - share / 2, f"{family.title}\n{family.objective}", fontsize=8.5, color=INK, va="center"
    )
    top -= share + 0.014


def join(figure: Figure, source: Axes, high: float, target: Axes, cross: float) -> None:
  """Draws the memory's way from the top of the source to the cross attention of the target."""
  invert = figure.transFigure.inverted()
  x0, y0 = invert.transform(source.transData.transform((0.5, high)))
  x1, y1 = invert.transform(target.transData.transform((0.06, cross)))
  middle = (invert.transform(source.transData.transform((1.12, 0)))[0] + x1) / 2
  ax = figure.add_axes((0, 0, 1, 1), zorder=5)
  ax.set(xlim=(0, 1), ylim=(0, 1))
  ax.axis("off")
  ax.plot(
    [x0, x0, middle, middle], [y0 - 0.007, y0, y0, y1], color="#9a6fc0", lw=1.4, solid_joinstyle="round"
  )
  ax.annotate(
    "",
    (x1, y1),
    (middle, y1),
    arrowprops={"arrowstyle": "-|>", "color": "#9a6fc0", "lw": 1.4, "shrinkA": 0, "shrinkB": 0},
  )
  write(ax, middle + 0.006, (y0 + y1) / 2, "encoder output", rotation=90, color="#7d4fa8")


def main() -> None:
  """Writes the figure, in few colours and so few bytes."""
  FIGURE.parent.mkdir(parents=True, exist_ok=True)
  drawn = io.BytesIO()
  draw().savefig(drawn, dpi=130)
  Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(FIGURE, optimize=True)
  print(f"{FIGURE.relative_to(ROOT)}: {FIGURE.stat().st_size:,} bytes")


if __name__ == "__main__":
  sys.exit(terminal.run_at_terminal(main))
