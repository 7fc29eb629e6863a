"""The compute-optimal curve of small decoders on English documentation, byte by byte.

  uv run experiments/chinchilla.py

5 budgets x 5 sizes, two seeds but at the two largest budgets, and a held-out budget of three sizes, 2.2 times above
the largest. Norms of queries and keys, the second moment's decay, and how the learning rate goes with width and steps
were measured before the sweep (docs/sweep.md, docs/notes/sweep_trials.md).
Time: 7 min on two idle cores of an AMD EPYC; 2.1e13 FLOPs.
Expected: a valley in each budget; N* near 16 k parameters at the smallest budget and 50 k at the largest.
"""

from gen.config import Criteria, Data, Model, Optimizer, Sweep


def get_config() -> Sweep:
  """Returns the study."""
  return Sweep(
    name="chinchilla",
    model=Model(family="decoder", depth=2, head_width=8, qk_norm=True),
    data=Data(corpus="manual", tokenizer="bytes", length=128, batch=4),
    optimizer=Optimizer(peak_learning_rate=5.556e-3, beta2=0.95, schedule="linear", warmup=0.05),
    budgets=(1.1e11, 1.9e11, 3.3e11, 5.8e11, 1e12),
    widths=(
      (8, 16, 24, 32, 40),
      (8, 16, 24, 40, 48),
      (8, 16, 32, 48, 56),
      (16, 24, 40, 64, 72),
      (16, 32, 48, 72, 80),
    ),
    seeds=(2, 2, 2, 1, 1),
    held_out=2.2e12,
    held_out_widths=(32, 56, 104),
    min_steps=1500,
    rate_width=64.0,
    rate_width_power=-0.7013,
    rate_steps=4500.0,
    rate_steps_power=-0.1369,
    rate_batch_power=0.5,
    criteria=Criteria(),
  )
