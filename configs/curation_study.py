"""What a curation is worth: small decoders on raw text, after each stage, and on parts of the final text repeated.

  uv run experiments/curation.py --source=raw.jsonl --judge=clean.jsonl

3 budgets x 2 seeds for each text, and 2, 4, 8 and 16 epochs of a part of the final text.
Time: 54 runs for a source that four stages change, 1.2e14 FLOPs. That is 50 min on two cores at 20 GFLOP/s each, which
runs of width 64 reached on a core that other work shared.
Expected: a table with the loss that each stage buys, and one sentence for each budget.
"""

from gen.config import Data, Model, Optimizer, Sweep
from gen.config.comparisons import CurationStudy


def get_config() -> CurationStudy:
  """Returns the study."""
  return CurationStudy(
    name="curation",
    sweep=Sweep(
      model=Model(family="decoder", depth=3, head_width=16, qk_norm=True),
      data=Data(tokenizer="bytes", length=128, batch=8, validation_tokens=16_384),
      optimizer=Optimizer(peak_learning_rate=5e-3, beta2=0.95, schedule="linear", warmup=0.05),
      budgets=(5e11, 1.5e12, 4.5e12),
      widths=((48,), (64,), (96,)),
      seeds=(2, 2, 2),
      rate_width=64.0,
      rate_width_power=-0.8,
    ),
  )
