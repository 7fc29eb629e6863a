"""Legal text against English documentation: adapt a general model, or pre-train on the domain alone?

  uv run experiments/adapt_domain.py --domain=law --general=manual:small

2 budgets x 3 seeds: general text only, adapted with 0, 10 and 30 % of replay, and from scratch with either tokenizer.
Time: 6.3e13 FLOPs. The published study of licences has 1.35e13 and took 16 min with one worker beside other
work, so this one takes about 75 min with one worker and half of that with two.
Expected: a table, a figure, and for each budget a sentence that says which way models the domain best.
"""

from gen.config import Data, Model, Optimizer, Sweep
from gen.config.comparisons import DomainStudy


def get_config() -> DomainStudy:
  """Returns the study."""
  return DomainStudy(
    name="adapt_domain",
    sweep=Sweep(
      model=Model(family="decoder", depth=3, head_width=16, qk_norm=True),
      data=Data(tokenizer="bpe", vocab=2048, length=128, batch=8, validation_tokens=65_536),
      optimizer=Optimizer(peak_learning_rate=8e-3, beta2=0.95, schedule="linear", warmup=0.05),
      budgets=(5e11, 3e12),
      widths=((48,), (80,)),
      seeds=(3, 3),
      rate_width=64.0,
      rate_width_power=-0.8,
    ),
  )
