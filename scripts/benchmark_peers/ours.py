"""Steps of `gen`, as `scripts/benchmark_step.py` runs them, for `compare.py`."""

import dataclasses

import bursts

from gen.config import Data, Run
from gen.costs import step_benchmark


def main() -> None:
  """Serves bursts of steps."""
  options = bursts.arguments(__doc__ or "", family="decoder")
  sizes = {"width": options.width, "depth": options.depth, "heads": options.heads, "vocab": options.vocab}
  shape = {"head_width": options.width // options.heads, "context": options.length}
  model = step_benchmark.benchmark_model(options.family, **sizes, **shape)
  objective = step_benchmark.OBJECTIVES.get(options.family, "causal")
  data = Data(length=options.length, batch=options.batch, objective=objective)
  before = bursts.peak_bytes()
  trial = step_benchmark.StepTrial(
    dataclasses.replace(Run(model=model, data=data), steps=1000, steps_per_dispatch=4)
  )
  bursts.serve(trial.steps, before, trial.first_step_seconds, trial.memory)


if __name__ == "__main__":
  main()
