"""Small models that must learn from their context: sequences of words and labels, a fresh mapping for each.

uv run experiments/in_context.py

Time, on two cores (machine not recorded): 4 min 43 s for two decoders and an LSTM alone (--families=decoder);
  6 min 32 s for an encoder and an encoder-decoder of width 32, with other work beside.
Expected: docs/prompting.md has runs of each family.
"""

from gen.config import Data, Model, Optimizer, Run


def get_config() -> Run:
  """Returns a decoder's run; the experiment replaces its width and family in turn."""
  return Run(
    name="in_context",
    model=Model(family="decoder", width=64, depth=2, head_width=16),
    data=Data(batch=32),
    optimizer=Optimizer(peak_learning_rate=2.5e-3, beta2=0.95, weight_decay=0.01, final=0.1),
    steps=2000,
  )
