"""A small decoder that learns to call a calculator.

uv run experiments/tools.py

Time: 63 to 67 CPU seconds: 1 min on an idle core, 5 min on two of an AMD EPYC at a load of 14.
Expected: 1.000 of the held-out problems solved with the calculator, 0.007 without it, by either model.
"""

from gen.config import Data, Model, Optimizer, Run


def get_config() -> Run:
  """Returns the decoder's run."""
  return Run(
    name="tools",
    model=Model(family="decoder", width=64, depth=2, head_width=16),
    data=Data(batch=32),
    optimizer=Optimizer(peak_learning_rate=5e-3, beta2=0.95, weight_decay=0.01, final=0.1),
    steps=800,
  )
