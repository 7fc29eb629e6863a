"""The long study: five budgets of five or six sizes, two seeds of each, and a held-out budget of four sizes.

uv run experiments/chinchilla.py --config=configs/full.py

The learning rate's rule was measured on earlier text, and heads of one width, with steps between bounds,
come from the studies before it; budgets and sizes from what simulated studies of their law needed (docs/sweep.md).
Time and result are those of the published study, which read the corpus `environment:code`.
Time: 79 min on two cores of an AMD EPYC with other work in the first half hour, in as many sittings as you like:
the same command goes on.
Expected: N* near 39 k parameters at the smallest budget and 160 k at the largest.
"""

from gen.config import Criteria, Data, Model, Optimizer, Sweep


def get_config() -> Sweep:
  """Returns the study."""
  return Sweep(
    name="full",
    model=Model(family="decoder", depth=2, head_width=14, qk_norm=True),
    # The large tier: one epoch of the default one is too short for the largest budget.
    data=Data(corpus="manual:large", tokenizer="bytes", length=128, batch=4),
    optimizer=Optimizer(peak_learning_rate=2.967e-3, beta2=0.95, schedule="linear", warmup=0.05),
    budgets=(6e11, 1.15e12, 2.2e12, 4.2e12, 8e12),
    widths=(
      (14, 28, 42, 56, 70),
      (14, 28, 42, 56, 70, 84),
      (28, 42, 56, 70, 84, 98),
      (28, 42, 56, 70, 84, 112),
      (42, 56, 70, 84, 112, 140),
    ),
    seeds=(2, 2, 2, 2, 2),
    held_out=2.4e13,
    held_out_widths=(56, 84, 112, 182),
    min_steps=3000,
    max_steps=7000,
    rate_width=64.0,
    rate_width_power=-0.8943,
    rate_steps=9000.0,
    rate_steps_power=-0.2052,
    rate_batch_power=0.5,
    bootstraps=4000,
    checkpoint_seconds=60.0,
    criteria=Criteria(),
  )
