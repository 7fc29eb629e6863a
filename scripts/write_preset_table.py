"""Writes what each preset sets into docs/families.md, between its marks.

uv run scripts/write_preset_table.py
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from gen import counts, presets
from gen.cli import terminal
from gen.config import Model

PAGE = Path(__file__).parents[1] / "docs/families.md"
HEADINGS = (
  "preset", "parameters", "family", "layers", "width", "heads", "feed-forward", "activation", "norm", "biases",
  "positions", "vocabulary", "logits", "objective",
)  # fmt: skip


def norms(model: Model) -> str:
  """Returns which norms there are, and where."""
  name = "RMSNorm" if model.norm == "rmsnorm" else "LayerNorm"
  return f"{model.norm_placement} {name}" + (", after the embedding too" if model.embedding_norm else "")


def biases(model: Model) -> str:
  """Returns which dense layers have biases."""
  return "yes" if model.bias else "queries, keys, values" if model.qkv_bias else "no"


def logits(model: Model) -> str:
  """Returns what becomes of the last hidden states."""
  parts = ["tied" if model.tied else "own matrix"]
  parts += ["scaled"] if model.logits_scale != 1 else []
  parts += ["transform"] if model.head_transform else []
  return ", ".join(parts + (["pooler"] if model.pooler else []))


def row(name: str) -> tuple[str, ...]:
  """Returns what a preset sets, in the order of the headings."""
  model = presets.get_model(name)
  depth = f"{model.depth} + {model.target_depth}" if model.family == "encoder_decoder" else str(model.depth)
  groups = f", {model.n_key_value_heads} of keys" if model.n_key_value_heads != model.n_heads else ""
  context = f" ({model.context:,})" if model.positions == "learned" else ""
  return (
    f"`{name}`", f"{counts.count_parameters(model).total:,}", model.family.replace("_", "-"), depth, f"{model.width:,}",
    f"{model.n_heads} × {model.head_width}{groups}", f"{model.feed_forward_width:,}", model.activation, norms(model),
    biases(model), f"{model.positions}{context}", f"{model.vocab:,}", logits(model),
    presets.get_objective(name),
  )  # fmt: skip


def table(names: Sequence[str]) -> str:
  """Returns a Markdown table of presets."""
  lines = [HEADINGS, ("---",) * len(HEADINGS), *(row(name) for name in names)]
  return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def tables() -> dict[str, str]:
  """Returns the generated parts of the page by their mark."""
  rows = [name for name in presets.preset_names() if re.fullmatch(r"chinchilla-\d+m", name)]
  return {
    "presets": table([name for name in presets.preset_names() if name not in rows]),
    "table-a9": table(rows),
  }


def page(text: str) -> str:
  """Returns the page with its generated parts as the code gives them."""
  for mark, content in tables().items():
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    before, rest = text.split(begin)
    text = f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"
  return text


def main() -> None:
  """Writes the page anew."""
  PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
  sys.exit(terminal.run_at_terminal(main))
