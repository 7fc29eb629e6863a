"""Does training in fewer bits cost loss? Each family in float32, bfloat16, float16 and with a state of bfloat16.

    uv run scripts/compare_precisions.py --workdir=runs/precisions --steps=200 --seeds=3
    uv run scripts/compare_precisions.py --workdir=runs/precisions --families=decoder,gru --json=-

Each run is trained and evaluated as experiments/pretrain.py does it. The difference to float32 is taken for each seed,
and its interval is Student's at 95 %. bfloat16_state stores parameters and moments in bfloat16 too, rounded
stochastically. Its speed is tokens per second inside steps, as a multiple of float32's, the median over seeds. Finished
runs in the work folder are not trained again.
"""

import dataclasses
import functools
import itertools
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gen.cli import environment, launch, terminal
from gen.config import FAMILIES, Data, Model, Optimizer, Run
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.scaling.comparisons.paired import PairedGap

PRECISIONS = ("float32", "bfloat16", "float16", "bfloat16_state")
OBJECTIVES = {"encoder": "masked", "encoder_decoder": "span_corruption"}
WORKDIR = outputs.DEFINE_folder("workdir", "runs/precisions", "Folder of the runs.")
RUN_FAMILIES = flags.DEFINE_list("families", list(FAMILIES), "Families to train.")
CORPUS = flags.DEFINE_string("corpus", Data().corpus, "Corpus, as --config.data.corpus.")
WIDTH = quantities.DEFINE_integer("width", 32, "Width of the models.", 8, 4_096)
DEPTH = quantities.DEFINE_integer("depth", 2, "Layers.", 1, 256)
STEPS = quantities.DEFINE_integer("steps", 200, "Steps of each run.", 1, 1_000_000)
SEEDS = quantities.DEFINE_integer("seeds", 3, "Seeds of each run; the interval needs two.", 2, 100)
JSON = outputs.DEFINE_json()


def _data(family: str) -> Data:
  return Data(
    corpus=CORPUS.value, tokenizer="bytes", length=64, batch=16, validation_tokens=16_384,
    objective=OBJECTIVES.get(family, "causal"),
  )  # fmt: skip


def make_run(family: str, precision: str, seed: int) -> Run:
  """Returns a small run of a family in a precision."""
  stored = "bfloat16" if precision == "bfloat16_state" else "float32"
  return Run(
    name=f"{family}-{precision}-s{seed}",
    seed=seed,
    model=Model(
      family=family, width=WIDTH.value, depth=DEPTH.value, head_width=8,
      dtype="bfloat16" if precision == "bfloat16_state" else precision,
    ),
    data=_data(family),
    optimizer=Optimizer(moment_dtype=stored, param_dtype=stored),
    steps=STEPS.value,
  )  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class PrecisionLoss:
  """The loss of a family in a precision.

  Attributes:
    family: of the model.
    precision: of training.
    loss: mean over seeds, nats per token, on the validation set.
    losses: of each seed.
    difference: to float32 of the same seed, with Student's interval at 95 %.
    speed: tokens per second inside steps, as a multiple of float32's of the same seed; the median over seeds.
    skipped: steps without a finite gradient, all seeds together; of float16, those that halved its scale.
  """

  family: str
  precision: str
  loss: float
  losses: list[float]
  difference: "PairedGap"
  speed: float
  skipped: int


def main() -> int:
  """Trains what is missing, and prints the table."""
  unknown = sorted(set(RUN_FAMILIES.value) - set(FAMILIES))
  if unknown or not RUN_FAMILIES.value:
    raise UserError(f"--families={','.join(RUN_FAMILIES.value)}: choose of {', '.join(FAMILIES)}")
  import numpy as np

  from gen import versions
  from gen.data import cache, dataset
  from gen.io import json_report
  from gen.scaling.comparisons import paired
  from gen.training import loop

  target = json_report.report_target(JSON.value)
  environment.compilation_cache(cache.cache_folder(Data()) / "compiled")
  rows: list[PrecisionLoss] = []
  # Of float32, the first precision.
  exact, plain = np.zeros(SEEDS.value), np.ones(SEEDS.value)
  load = functools.lru_cache(maxsize=1)(
    lambda name: dataset.load_dataset(_data(name), terminal.print_progress)
  )
  for family, precision in itertools.product(RUN_FAMILIES.value, PRECISIONS):
    runs = [make_run(family, precision, seed) for seed in range(SEEDS.value)]
    results = [loop.train_run(run, Path(WORKDIR.value) / run.name, load(family)) for run in runs]
    losses = np.array([result.loss for result in results])
    rates = np.array([result.tokens_per_second for result in results])
    exact, plain = (losses, rates) if precision == "float32" else (exact, plain)
    gap = paired.mean_interval((losses - exact).tolist(), 0.95)
    skipped = sum(result.skipped for result in results)
    speed = float(np.median(rates / plain))
    rows.append(PrecisionLoss(family, precision, float(losses.mean()), losses.tolist(), gap, speed, skipped))
    terminal.print_progress(_line(rows[-1]))
  if target != json_report.STANDARD_OUTPUT:
    print(
      "\n".join(
        [f"{'family':<16}{'precision':<16}{'loss':>9}{'speed':>7}   difference to float32", *map(_line, rows)]
      )
    )
  command = shlex.join(["scripts/compare_precisions.py", *sys.argv[1:]])
  sizes = {"width": WIDTH.value, "depth": DEPTH.value, "steps": STEPS.value, "seeds": SEEDS.value}
  record = {
    "command": command,
    **sizes,
    "corpus": CORPUS.value,
    "rows": rows,
    "versions": versions.installed_versions(),
    "machine": versions.describe_machine(),
  }
  json_report.write_report(record, target)
  return 0


def _line(row: PrecisionLoss) -> str:
  from gen.scaling.comparisons import paired

  gap = paired.format_gap(row.difference, 4)
  return f"{row.family:<16}{row.precision:<16}{row.loss:>9.4f}{row.speed:>7.2f}   {gap}"


if __name__ == "__main__":
  launch.run_experiment(main)
