"""The long study: five budgets of six or seven sizes, and a held-out budget of four.

uv run experiments/chinchilla.py --config=configs/full.py

The learning rate's rule was measured on this text before the runs, and how many steps a run wants as well
(docs/sweep.md).
Time: an hour and a half on two cores, in as many sittings as you like: the same command goes on.
Expected: N* near 50 k parameters at the smallest budget and 150 k at the largest.
"""

from gen.config import Criteria, Data, Model, Optimizer, Sweep


def get_config() -> Sweep:
  """Returns the study."""
  return Sweep(
    name="full",
    model=Model(family="decoder", depth=2, heads=2, qk_norm=True),
    # The sources of the packages too: one epoch of the docstrings is too short for the largest budget.
    data=Data(corpus="environment:code", tokenizer="bytes", length=128, batch=4),
    optimizer=Optimizer(peak_learning_rate=2.967e-3, beta2=0.95, schedule="linear", warmup=0.05),
    budgets=(1e12, 1.8e12, 3.2e12, 5.6e12, 1e13),
    widths=(
      (20, 24, 32, 40, 48, 60, 72),
      (24, 32, 40, 48, 60, 72, 88),
      (32, 44, 56, 68, 84, 104),
      (40, 52, 64, 80, 100, 120),
      (48, 60, 76, 92, 112, 140),
    ),
    seeds=(2, 2, 1, 1, 1),
    held_out=3e13,
    held_out_widths=(64, 88, 112, 144),
    least_updates=3000,
    most_updates=10000,
    rate_width=64.0,
    rate_width_power=-0.8943,
    rate_steps=9000.0,
    rate_steps_power=-0.2052,
    rate_batch_power=0.5,
    bootstraps=4000,
    checkpoint_seconds=60.0,
    criteria=Criteria(),
  )
