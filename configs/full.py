"""The long study: five budgets of seven sizes, up to three seeds, and a held-out budget of five sizes.

uv run experiments/chinchilla.py --config=configs/full.py

The learning rate's rule was measured on this text before the runs (docs/sweep.md).
Time: 93 minutes on two cores with other work beside, in as many sittings as you like: the same command goes on.
Expected: N* near 55 k parameters at the smallest budget and 195 k at the largest.
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
    budgets=(1e12, 2e12, 4e12, 8e12, 1.6e13),
    widths=(
      (16, 32, 48, 64, 80, 96, 112),
      (32, 48, 64, 80, 96, 112, 128),
      (32, 48, 64, 80, 96, 128, 160),
      (48, 64, 80, 96, 128, 160, 192),
      (48, 64, 96, 128, 160, 192, 224),
    ),
    seeds=(3, 3, 2, 1, 1),
    held_out=4.8e13,
    held_out_widths=(80, 112, 144, 176, 240),
    least_updates=1500,
    rate_width=64.0,
    rate_width_power=-0.8943,
    rate_steps=9000.0,
    rate_steps_power=-0.2052,
    rate_batch_power=0.5,
    bootstraps=4000,
    checkpoint_seconds=60.0,
    criteria=Criteria(),
  )
