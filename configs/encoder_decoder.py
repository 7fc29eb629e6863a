"""A T5-like encoder-decoder on English documentation, span corruption.

uv run experiments/pretrain.py --config=configs/encoder_decoder.py

Time and result are those of the corpus `environment`, the default of earlier versions.
Time: 1 min 42 s on two cores (machine not recorded), compilation included; several times that at a high load.
Expected: 4.60 nats per target on validation; the unigram entropy of its targets is 5.63.
"""

from gen.config import Data, Model, Optimizer, Run


def get_config() -> Run:
  """Returns the run."""
  return Run(
    name="encoder_decoder",
    model=Model(
      family="encoder_decoder",
      width=128,
      depth=3,
      head_width=32,
      norm="rmsnorm",
      positions="relative",
      activation="geglu",
      feed_forward=256,
    ),
    data=Data(
      objective="span_corruption", corpus="manual", tokenizer="bpe", vocab=4096, length=128, batch=16
    ),
    optimizer=Optimizer(peak_learning_rate=3e-3, schedule="linear", warmup=0.05),
    steps=600,
    evaluate_every=200,
  )
