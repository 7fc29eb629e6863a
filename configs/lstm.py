"""An LSTM on English documentation, byte pairs, causal, its state carried from row to row.

uv run experiments/pretrain.py --config=configs/lstm.py

Time and result are those of the corpus `environment`, the default of earlier versions.
Time: 1 min 17 s on two cores (machine not recorded), compilation included; several times that at a high load.
Expected: 4.80 nats per token on validation; the unigram entropy of its targets is 6.25.
"""

from gen.config import Data, Model, Optimizer, Run


def get_config() -> Run:
  """Returns the run."""
  return Run(
    name="lstm",
    model=Model(family="lstm", width=160, depth=2, carry=True),
    data=Data(corpus="manual", tokenizer="bpe", vocab=4096, length=64, batch=32, stream=True),
    optimizer=Optimizer(peak_learning_rate=5e-3, schedule="linear", warmup=0.05),
    steps=600,
    evaluate_every=200,
  )
