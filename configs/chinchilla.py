"""The compute-optimal curve of small decoders on English documentation, byte by byte.

  uv run experiments/chinchilla.py

5 budgets x 5 sizes, two seeds but at the two largest budgets, and a held-out budget of three sizes, three times above
the largest. Norms of queries and keys, the second moment's decay, and how the learning rate goes with width, steps and
batch were measured before the sweep; budgets and sizes are what rehearsed studies needed (docs/sweep.md).
Time and result are those of the corpus `environment`, the default of earlier versions.
Time: 13 min on two idle cores of an AMD EPYC, 30 min on two of an Intel Xeon with neighbours.
Expected: a valley in each budget; N* near 25 k parameters at the smallest budget and 82 k at the largest.
"""

from gen.config import Criteria, Data, Model, Optimizer, Sweep


def get_config() -> Sweep:
  """Returns the study."""
  return Sweep(
    name="chinchilla",
    model=Model(family="decoder", depth=2, head_width=10, qk_norm=True),
    data=Data(corpus="manual", tokenizer="bytes", length=128, batch=4),
    optimizer=Optimizer(peak_learning_rate=2.967e-3, beta2=0.95, schedule="linear", warmup=0.05),
    budgets=(2.4e11, 4.2e11, 7.5e11, 1.3e12, 2.2e12),
    widths=(
      (10, 20, 30, 40, 60),
      (10, 20, 30, 40, 60),
      (20, 30, 40, 60, 90),
      (20, 30, 40, 60, 90),
      (30, 40, 60, 90, 120),
    ),
    seeds=(2, 2, 2, 1, 1),
    held_out=6.6e12,
    held_out_widths=(50, 80, 120),
    min_steps=1500,
    rate_width=64.0,
    rate_width_power=-0.8943,
    rate_steps=9000.0,
    rate_steps_power=-0.2052,
    rate_batch_power=0.5,
    criteria=Criteria(),
  )
