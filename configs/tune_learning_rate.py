"""Learning rates of small decoders over width and horizon, each with each, and a larger run to verify the rule at.

  uv run experiments/tune_learning_rate.py

3 widths x 2 horizons x 4 rates, and the rule verified at the largest width and horizon with three rates. The rule that
is given here is only where the rates are centred.
Time and result are those of the corpus `environment`, the default of earlier versions.
Time: about 6 min on two idle cores (machine not recorded).
Expected: a rate that falls with width, and less with the horizon.
"""

from gen.config import Data, Model, Optimizer, Sweep


def get_config() -> Sweep:
  """Returns the study; `held_out` and `held_out_widths` are where the rule is verified."""
  return Sweep(
    name="tune_learning_rate",
    model=Model(family="decoder", depth=2, heads=2, qk_norm=True),
    data=Data(corpus="manual", tokenizer="bytes", length=128, batch=4),
    optimizer=Optimizer(peak_learning_rate=5e-3, beta2=0.95, schedule="linear", warmup=0.05),
    budget_unit="steps",
    budgets=(1500, 4500),
    widths=((16, 32, 64),) * 2,
    learning_rate_multipliers=(0.35, 0.7, 1.4, 2.8),
    held_out=6000,
    held_out_widths=(96,),
    rate_width=64.0,
    rate_width_power=-0.8,
    rate_steps=4500.0,
  )
