"""A GPT-like decoder on English documentation, byte pairs, causal.

uv run experiments/pretrain.py --config=configs/decoder.py

Time and result are those of the corpus `environment`, the default of earlier versions.
Time: 1 min 50 s on two cores (machine not recorded), 12 min on two of an AMD EPYC at a load of 14; compilation and
corpus included.
Expected: 4.05 nats per token on validation, 1.93 bits per byte; the unigram entropy of its targets is 6.25 nats.
"""

from gen.config import Data, Model, Optimizer, Run


def get_config() -> Run:
  """Returns the run."""
  return Run(
    name="decoder",
    model=Model(family="decoder", width=128, depth=4, head_width=32),
    data=Data(corpus="manual", tokenizer="bpe", vocab=4096, length=128, batch=16),
    optimizer=Optimizer(peak_learning_rate=5e-3, schedule="linear", warmup=0.05),
    steps=600,
    evaluate_every=200,
  )
