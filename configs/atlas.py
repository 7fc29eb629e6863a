"""Four families on the docstrings of the installed packages, byte by byte: the same text, budgets and trainer for all.

  uv run experiments/compare_families.py

4 budgets x 5 sizes a family, two seeds at the smallest budget, and a held-out budget of three sizes three times above
the largest. Sizes lie around each family's optimum and learning rates follow a rule of each, both from trial runs
(docs/atlas.md). Of depth 2, or one layer a stack in the encoder-decoder.
Time: about 25 minutes of two idle cores.
Expected: a valley in most budgets; which curves are credible the result itself says.
"""

from typing import Any

from gen.config import Atlas, Criteria, Data, Model, Optimizer, Sweep

BUDGETS = (1.5e11, 3e11, 6e11, 1.2e12)
TRANSFORMER: dict[str, Any] = {"depth": 2, "heads": 2, "qk_norm": True}


def get_config() -> Atlas:
  """Returns the atlas."""
  return Atlas(
    name="atlas",
    decoder=_study(
      Model(family="decoder", **TRANSFORMER),
      "causal",
      widths=((12, 16, 24, 32, 44), (16, 24, 32, 44, 56), (20, 28, 40, 52, 68), (24, 36, 48, 64, 88)),
      held_out_widths=(44, 64, 96),
      rate=(0.0048, -0.85),
    ),
    encoder=_study(
      Model(family="encoder", **TRANSFORMER),
      "masked",
      widths=((12, 16, 20, 28, 40), (12, 16, 24, 32, 44), (16, 24, 32, 44, 60), (20, 28, 40, 56, 76)),
      held_out_widths=(40, 56, 80),
      rate=(0.0045, -0.75),
    ),
    encoder_decoder=_study(
      Model(family="encoder_decoder", **(TRANSFORMER | {"depth": 1})),
      "span_corruption",
      widths=((12, 16, 24, 32, 44), (16, 20, 28, 40, 52), (16, 24, 36, 48, 64), (24, 32, 44, 60, 80)),
      held_out_widths=(44, 60, 88),
      rate=(0.0052, -0.25),
    ),
    lstm=_study(
      Model(family="lstm", depth=2, residual=True),
      "causal",
      widths=((20, 28, 40, 52, 72), (28, 40, 52, 68, 92), (36, 48, 68, 88, 120), (44, 64, 88, 116, 156)),
      held_out_widths=(76, 104, 144),
      rate=(0.013, -0.45),
    ),
  )


def _study(
  model: Model,
  objective: str,
  widths: tuple[tuple[int, ...], ...],
  held_out_widths: tuple[int, ...],
  rate: tuple[float, float],
) -> Sweep:
  """Returns a family's study; `rate` is the peak learning rate at width 64 and its power of the width."""
  return Sweep(
    model=model,
    data=Data(corpus="environment", tokenizer="bytes", objective=objective, length=128, batch=4),
    optimizer=Optimizer(peak_learning_rate=rate[0], beta2=0.95, schedule="linear", warmup=0.05),
    budgets=BUDGETS,
    widths=widths,
    seeds=(2, 1, 1, 1),
    held_out=3 * BUDGETS[-1],
    held_out_widths=held_out_widths,
    least_updates=1500,
    rate_width=64.0,
    rate_width_power=rate[1],
    rate_batch_power=0.5,
    checkpoint_seconds=120.0,
    criteria=Criteria(),
  )
