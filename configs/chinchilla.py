"""The compute-optimal curve of small decoders on the docstrings of the installed packages, byte by byte.

  uv run experiments/chinchilla.py

4 budgets x 5 sizes, three seeds at the smallest budget and two at the next and at the largest, and a held-out budget
three times above the largest. Norms of queries and keys, the second moment's decay, and how the learning rate goes with
width and batch were measured before the sweep (docs/sweep.md).
Time: 12 and a half minutes on two cores with other work beside it.
Expected: a valley in each budget; N* near 30 k parameters at the smallest budget and 80 k at the largest.
"""

from gen.config import Criteria, Data, Model, Optimizer, Sweep


def get_config() -> Sweep:
  """Returns the study."""
  return Sweep(
    name="chinchilla",
    model=Model(family="decoder", depth=2, heads=2, qk_norm=True),
    data=Data(corpus="environment", tokenizer="bytes", length=128, batch=4),
    optimizer=Optimizer(peak_learning_rate=4.8e-3, beta2=0.95, schedule="linear", warmup=0.05),
    budgets=(3e11, 6e11, 1.2e12, 2.4e12),
    widths=((20, 24, 32, 44, 56), (24, 32, 44, 56, 76), (24, 32, 44, 56, 76), (32, 44, 56, 76, 104)),
    seeds=(3, 2, 1, 2),
    held_out=7.2e12,
    held_out_widths=(56, 76, 104),
    least_updates=1500,
    rate_width=64.0,
    rate_width_power=-0.85,
    rate_batch_power=0.5,
    criteria=Criteria(),
  )
