"""Compares counted FLOPs with XLA's count without loops, for nine shapes of each family.

  uv run scripts/check_counts.py

Prints counted over compiled for every shape, and ends with exit code 1 if one is more than 3 % off.
"""

import sys
from typing import Any

from gen import counts
from gen.cli import terminal
from gen.config import Model
from gen.costs import xla_flops

LIMIT = 0.03
FAMILIES = ("decoder", "encoder", "encoder_decoder", "lstm")
# (width, depth, vocab, length), wide enough for products to dwarf norms, softmax and gates, which are not counted.
SIZES = (
  (128, 1, 300, 16), (128, 2, 700, 40), (160, 2, 500, 24), (160, 1, 1200, 48), (192, 3, 300, 20),
  (192, 1, 900, 64), (224, 2, 400, 32), (256, 1, 2000, 12), (256, 2, 256, 56),
)  # fmt: skip
SWITCHES: tuple[dict[str, Any], ...] = (
  {}, {"activation": "swiglu"}, {"positions": "learned", "activation": "relu"}, {"tied": True, "positions": "none"},
  {"norm": "rmsnorm", "key_value_heads": 1}, {"norm_placement": "post", "positions": "sinusoidal"}, {"head_width": 16},
  {"feed_forward": 700, "bias": True}, {"activation": "geglu", "positions": "relative"},
)  # fmt: skip


def main() -> int:
  """Compiles and prints; returns the exit code."""
  worst = 0.0
  for family in FAMILIES:
    for (width, depth, vocab, length), switches in zip(SIZES, SWITCHES, strict=True):
      model, target, source = shape(family, width, depth, vocab, length, switches)
      ratio = (
        counts.count_flops(model, target, source).total
        * 3
        / xla_flops.count_xla_flops(model, target, source, 3)
      )
      worst = max(worst, abs(ratio - 1))
      print(
        f"{family:16} width {width:3} depth {depth} vocab {vocab:4} length {target:2} {source:2}  {ratio:.4f}"
      )
  print(f"\nat most {100 * worst:.1f} % off, limit {100 * LIMIT:g} %")
  return int(worst > LIMIT)


def shape(
  family: str, width: int, depth: int, vocab: int, length: int, switches: dict[str, Any]
) -> tuple[Model, int, int]:
  """Returns a model of the family with the lengths of its rows."""
  if (
    family == "lstm"
  ):  # Its loop over time is unrolled too, so rows are short; of 6 steps one needs no gradient.
    return Model(family=family, width=2 * width, depth=depth, vocab=vocab, residual=True), 6, 0
  model = Model(
    family=family, depth=depth, vocab=vocab, width=width, context=length, **({"head_width": 32} | switches)
  )
  return model, length, (length // 2 if family == "encoder_decoder" else 0)


if __name__ == "__main__":
  sys.exit(terminal.run_at_terminal(main))
