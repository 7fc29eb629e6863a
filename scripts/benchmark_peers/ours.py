"""Steps of `gen`, as `scripts/benchmark_step.py` runs them, for `compare.py`."""

import dataclasses

import bursts

from gen.config import Data, Run
from gen.costs import step_benchmark


def main() -> None:
  """Serves bursts of steps."""
  asked = bursts.arguments(__doc__ or "", family="decoder")
  sizes = {"width": asked.width, "depth": asked.depth, "heads": asked.heads, "vocab": asked.vocab}
  shape = {"head_width": asked.width // asked.heads, "context": asked.length}
  model = step_benchmark.benchmark_model(asked.family, **sizes, **shape)
  objective = step_benchmark.OBJECTIVES.get(asked.family, "causal")
  data = Data(length=asked.length, batch=asked.batch, objective=objective)
  before = bursts.peak_bytes()
  trial = step_benchmark.StepTrial(
    dataclasses.replace(Run(model=model, data=data), steps=1000, steps_per_dispatch=4)
  )
  bursts.serve(trial.steps, before, trial.first_step_seconds, trial.memory)


if __name__ == "__main__":
  main()
