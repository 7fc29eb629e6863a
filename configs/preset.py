"""A named model of the literature on English documentation, with its paper's objective.

  uv run experiments/pretrain.py --config=configs/preset.py:bert-base

The name follows the colon (gpt2 if none does); docs/families.md lists all of them and what each sets. Every field can
be changed, as in --config=configs/preset.py:t5-small --config.model.depth=2 --config.data.batch=2. The weights are
random, and the vocabulary is the preset's own, larger than the tokenizer that is trained here.
"""

from gen import presets
from gen.config import Data, Optimizer, Run


def get_config(name: str = "gpt2") -> Run:
  """Returns the run of a preset."""
  return Run(
    name=name,
    model=presets.get_model(name),
    data=Data(
      objective=presets.get_objective(name),
      corpus="manual",
      tokenizer="bpe",
      vocab=4096,
      length=128,
      batch=8,
    ),
    optimizer=Optimizer(peak_learning_rate=6e-4, schedule="cosine", warmup=0.1, final=0.1),
    steps=200,
    evaluate_every=100,
  )
