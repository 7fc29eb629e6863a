"""A BERT-like encoder on English documentation, masked tokens, another mask each epoch.

uv run experiments/pretrain.py --config=configs/encoder.py

Time and result are those of the corpus `environment`, the default of earlier versions.
Time: 1 min 42 s on two cores (machine not recorded), compilation included; several times that at a high load.
Expected: 4.17 nats per masked token on validation (4.53 after 400 of the 600 steps); the unigram entropy of its targets
is 5.69.
"""

from gen.config import Data, Model, Optimizer, Run


def get_config() -> Run:
  """Returns the run."""
  return Run(
    name="encoder",
    model=Model(family="encoder", width=128, depth=4, head_width=32, qk_norm=True),
    data=Data(objective="masked", corpus="manual", tokenizer="bpe", vocab=1024, length=128, batch=16),
    optimizer=Optimizer(peak_learning_rate=3e-3, beta2=0.95, schedule="linear", warmup=0.05),
    steps=600,
    evaluate_every=200,
  )
