"""Four families on English documentation, byte by byte, at the same budgets.

  uv run experiments/compare_families.py

4 budgets x 5 sizes a family, two seeds at the two smallest budgets, and a held-out budget of three sizes three times
above the largest. Sizes lie around each family's optimum, heads are of one width, and learning rates follow a rule of
each, all from trial runs; the budgets are what rehearsed studies of the decoder needed (docs/atlas.md). Of depth 2, or
one layer a stack in the encoder-decoder.
Time and result are those of the corpus `environment:code`, the default of earlier versions.
Time: 67 to 70 min on two nearly idle cores of an AMD EPYC, in as many sittings as you like: the same command goes on.
Expected: a valley in each budget; the LSTM's curve was credible, the others' were not (the result itself says so).
"""

from typing import Any

from gen.config import Atlas, Criteria, Data, Model, Optimizer, Sweep

BUDGETS = (4e11, 8e11, 1.6e12, 3.2e12)
TRANSFORMER: dict[str, Any] = {"depth": 2, "head_width": 8, "qk_norm": True}


def get_config() -> Atlas:
  """Returns the atlas."""
  return Atlas(
    name="atlas",
    decoder=_study(
      Model(family="decoder", **TRANSFORMER),
      "causal",
      widths=((16, 24, 32, 48, 72), (16, 24, 40, 64, 96), (24, 32, 48, 72, 112), (24, 40, 64, 96, 144)),
      held_out_widths=(48, 80, 136),
      rate=(0.002967, -0.8943, -0.2052),
    ),
    encoder=_study(
      Model(family="encoder", **TRANSFORMER),
      "masked",
      widths=((16, 24, 32, 48, 64), (16, 24, 40, 56, 80), (24, 32, 48, 64, 96), (24, 40, 56, 80, 112)),
      held_out_widths=(48, 72, 112),
      rate=(0.0045, -0.75, 0.0),
    ),
    encoder_decoder=_study(
      Model(family="encoder_decoder", **(TRANSFORMER | {"depth": 1})),
      "span_corruption_bytes",
      widths=((16, 24, 32, 48, 64), (16, 24, 40, 56, 80), (24, 32, 48, 64, 88), (24, 40, 56, 80, 112)),
      held_out_widths=(40, 64, 104),
      rate=(0.003, -0.8, 0.0),
    ),
    lstm=_study(
      Model(family="lstm", depth=2, residual=True),
      "causal",
      widths=((24, 40, 64, 88, 128), (32, 56, 80, 112, 152), (40, 64, 96, 136, 184), (48, 80, 112, 160, 216)),
      held_out_widths=(80, 128, 208),
      rate=(0.013, -0.45, 0.0),
    ),
  )


def _study(
  model: Model,
  objective: str,
  widths: tuple[tuple[int, ...], ...],
  held_out_widths: tuple[int, ...],
  rate: tuple[float, float, float],
) -> Sweep:
  """Returns a family's study; `rate` is the peak at width 64, its power of the width, and that of the steps."""
  return Sweep(
    model=model,
    data=Data(corpus="manual:large", tokenizer="bytes", objective=objective, length=128, batch=4),
    optimizer=Optimizer(peak_learning_rate=rate[0], beta2=0.95, schedule="linear", warmup=0.05),
    budgets=BUDGETS,
    widths=widths,
    seeds=(2, 2, 1, 1),
    held_out=3 * BUDGETS[-1],
    held_out_widths=held_out_widths,
    min_steps=2000,
    max_steps=8000,
    rate_width=64.0,
    rate_width_power=rate[1],
    rate_steps=9000.0,
    rate_steps_power=rate[2],
    rate_batch_power=0.5,
    checkpoint_seconds=120.0,
    criteria=Criteria(),
  )
