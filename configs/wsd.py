"""A scaling study from fewer FLOPs: one trunk a size at a constant rate, and each budget a branch of it that decays.

  uv run experiments/chinchilla.py --config=configs/wsd.py

5 budgets x 5 sizes and a held-out budget three times above the largest, of 6 trunks. The batch is one for all budgets,
as the branches of a trunk share it, and the rate half of what suits runs whose rate decays all the way (docs/sweep.md).
Time and result are those of the corpus `environment`, the default of earlier versions.
Time: 12 min on two cores of an AMD EPYC with much other work beside it.
Expected: 1.7 times as many FLOPs charged as spent; a valley in each budget; "not credible": one seed tells no noise.
"""

from gen.config import Criteria, Data, Model, Optimizer, Sweep


def get_config() -> Sweep:
  """Returns the study."""
  small, large = (20, 24, 32, 44, 56), (24, 32, 44, 56, 76)
  return Sweep(
    name="wsd",
    model=Model(family="decoder", depth=2, heads=2, qk_norm=True),
    data=Data(corpus="manual", tokenizer="bytes", length=128, batch=2),
    optimizer=Optimizer(peak_learning_rate=1.7e-3, beta2=0.95, schedule="wsd", warmup=0.05, decay=0.2),
    trunks=True,
    budgets=(3e11, 4.2e11, 6e11, 8.5e11, 1.2e12),
    widths=(small, small, large, large, large),
    held_out=3.6e12,
    held_out_widths=(44, 56, 76),
    rate_width=64.0,
    rate_width_power=-0.85,
    criteria=Criteria(),
  )
