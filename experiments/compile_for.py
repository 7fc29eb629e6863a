"""Does this run fit onto accelerators that I do not have? Compiles the trainer's step for them.

  uv run --extra tpu experiments/compile_for.py --topology=v5p:4x4x4 --preset=chinchilla-70b \
    --config.mesh=fsdp=16,tensor=4 --config.data.length=2048 --config.data.batch=64 --config.model.remat=full

  uv run --extra absent-gpus experiments/compile_for.py --topology=h100:8 --preset=gpt2 --config.mesh=data=8 \
    --config.layout=zero2 --config.data.batch=64

XLA compiles for a topology of TPUs or GPUs without any such device. Prints the bytes of a step on each chip, the bytes
that each chip sends, the time of a step at an assumed utilization, and whether the step fits. Layers are compiled once,
as a loop (model.scan). Products are bfloat16 unless --precision=float32; parameters and moments are float32. A large
model takes minutes.
"""

import itertools
import sys

from absl import flags

from gen.cli import launch
from gen.config import Run
from gen.errors import UserError
from gen.io import outputs, quantities

TOPOLOGY = flags.DEFINE_string(
  "topology",
  "v5p:4x4x4",
  "Chip and grid, such as v5p:4x4x4, v5e:4x4 or v4:2x2x1; or GPUs, such as h100:8 or h200:64.",
)
PRESET = flags.DEFINE_string("preset", "", "Named model; short for --config=configs/preset.py:NAME.")
PRECISION = flags.DEFINE_enum(
  "precision", "mixed", ("mixed", "float32"), "Of compute; mixed: bfloat16 products."
)
UTILIZATION = quantities.DEFINE_float(
  "utilization",
  0.4,
  "Assumed share of the chips' peak rate; the time of a step follows from it.",
  lower_bound=0,
  upper_bound=1,
)
JSON = outputs.DEFINE_json()
UNFIT = 1  # exit code


def main(run: Run) -> int:
  """Compiles and reports; returns 0 if the step fits."""
  from gen.config import validation
  from gen.costs import topologies

  topology = topologies.parse_topology(TOPOLOGY.value)
  if not 0 < UTILIZATION.value <= 1:
    raise UserError(f"--utilization={UTILIZATION.value:g}: give a share above 0 and at most 1, such as 0.4")
  devices = topologies.topology_devices(topology)  # before jax initializes its own
  from gen.costs import compile_report
  from gen.io import json_report

  run = compile_report.prepare_run(run, topology.chips, PRECISION.value)
  validation.check_run(run)
  target = json_report.report_target(JSON.value)
  report = compile_report.compile_report(run, topology, devices, PRECISION.value, UTILIZATION.value)
  if target != json_report.STANDARD_OUTPUT:
    print("\n".join(compile_report.report_lines(report)))
  json_report.write_report(report, target)
  return 0 if report.fits else UNFIT


def with_config(words: list[str]) -> list[str]:
  """Returns the command line with the config that --preset is short for, placed before the overrides of its fields.

  The length of a row is the model's context, if it has one.

  >>> with_config(["--preset=gpt2", "--config.data.batch=4"])
  ['--config=configs/preset.py:gpt2', '--config.data.length=1024', '--preset=gpt2', '--config.data.batch=4']
  """
  from gen import presets

  for word, following in itertools.pairwise([*words, ""]):
    name, _, value = word.lstrip("-").partition("=")
    if word.startswith("-") and name == "preset":
      preset = value or following
      config = f"--config=configs/preset.py:{preset}"
      try:
        return [config, f"--config.data.length={presets.get_length(preset)}", *words]
      except UserError:
        return [config, *words]  # The config file raises the error about the unknown preset.
  return words


if __name__ == "__main__":
  sys.argv[1:] = with_config(sys.argv[1:])
  launch.run_experiment(main, Run, "configs/preset.py:gpt2", trains=False)
