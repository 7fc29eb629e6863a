"""A small decoder, and so the recurrent model of equal size that experiments/rnn_vs_transformer.py sets beside it.

uv run experiments/rnn_vs_transformer.py

Time and result are those of the corpus `environment`, the default of earlier versions.
Time: 3 min 14 s on two cores (machine not recorded) with other work on them.
Expected: 3.73 nats per token (transformer), 3.67 (LSTM); docs/rnn.md says what that shows.
"""

from gen.config import Data, Model, Optimizer, Run


def get_config() -> Run:
  """Returns the decoder's run."""
  return Run(
    name="rnn_vs_transformer",
    model=Model(family="decoder", width=64, depth=3, head_width=16, qk_norm=True),
    data=Data(corpus="manual", tokenizer="bpe", vocab=4096, length=128, batch=16, validation_tokens=65_536),
    optimizer=Optimizer(peak_learning_rate=1e-2, beta2=0.95, schedule="linear", warmup=0.05),
    steps=800,
  )
