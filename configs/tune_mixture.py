"""Weights of manuals and licences for a target text, measured on small decoders and checked on a longer run.

  uv run experiments/tune_mixture.py --target=law

9 designed runs (two corpora alone, half and half, and 6 random mixtures), each of one small model; then the proposed
weights and equal ones, each with two seeds, at four times the FLOPs. The weights in data.mixture only say which corpora
are candidates.
"""

from gen.config import Data, MixtureCorpus, Model, Optimizer, Sweep


def get_config() -> Sweep:
  """Returns the study; `held_out` and `held_out_widths` are where the proposal is checked."""
  return Sweep(
    name="tune_mixture",
    model=Model(family="decoder", depth=2, heads=2, qk_norm=True),
    data=Data(
      mixture=(MixtureCorpus("manual:small", weight=1), MixtureCorpus("law", weight=1)),
      tokenizer="bytes",
      length=128,
      batch=4,
      validation_tokens=32_768,
    ),
    optimizer=Optimizer(peak_learning_rate=4.8e-3, beta2=0.95, schedule="linear", warmup=0.05),
    budgets=(1e11,),
    widths=((32,),),
    seeds=(1, 2),
    held_out=4e11,
    held_out_widths=(32,),
    rate_width=64.0,
    rate_width_power=-0.85,
    rate_batch_power=0.5,
    bootstraps=200,
  )
