"""The whole road of the curve in minutes: tiny budgets, so that no verdict but "not credible" is to be expected.

  uv run experiments/chinchilla.py --config=configs/smoke.py

Time: 1 min on two idle cores (machine not recorded), 7 to 9 min on two of an AMD EPYC at a load of 13, compilation
included.
Expected: plots, report and results of 15 runs; the verdict's reasons say what such a sweep lacks.
"""

from gen.config import Criteria, Data, Model, Optimizer, Sweep


def get_config() -> Sweep:
  """Returns the study."""
  widths = (8, 16, 32)
  return Sweep(
    name="smoke",
    model=Model(family="decoder", depth=2, heads=2, qk_norm=True),
    data=Data(corpus="manual:small", tokenizer="bytes", length=128, batch=4, validation_tokens=32_768),
    optimizer=Optimizer(peak_learning_rate=4.8e-3, beta2=0.95, schedule="linear", warmup=0.05),
    budgets=(1e10, 2e10, 4e10, 8e10),
    widths=(widths,) * 4,
    held_out=2.4e11,
    held_out_widths=widths,
    rate_width=64.0,
    rate_width_power=-0.85,
    rate_batch_power=0.5,
    bootstraps=200,
    criteria=Criteria(min_steps=20),  # Written down for what it is: a smoke test.
  )
