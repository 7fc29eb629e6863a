"""What does a layout cost, before it is run: bytes on each device, and bytes between devices?

  uv run experiments/memory.py --preset=gpt2-xl --layout=zero3 --devices=64 --batch=64 --nocompile
  uv run experiments/memory.py --params=7.5e9 --layout=zero2 --devices=64 --precision=mixed --json=-
  uv run experiments/memory.py --params=1B --by_bits --plot=bits.png
  uv run experiments/memory.py --preset=gpt2 --use=decode --weights=int8 --cache=int8
  uv run experiments/memory.py --preset=gpt2 --use=finetune --method=lora --base_format=nf4

With a preset it counts the trainer's state exactly, estimates what a step needs, and compiles the same step for as many
simulated devices. --nocompile leaves the compilation out, which takes most of the time. With --params it gives the
account of state alone, for any number of parameters, or with --by_bits the table of the formats.
"""

import math
import os
from typing import TYPE_CHECKING

from absl import flags

from gen import presets
from gen.cli import launch
from gen.config import mesh_shape
from gen.errors import UserError
from gen.finetuning import memory_flags
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.costs.memory_report import RunMemoryReport, StateReport

MAX_SIZE = 2**31 - 1  # sizes of arrays are int32
PRESET = flags.DEFINE_string("preset", "", "Named model, as in docs/families.md.")
PARAMS = quantities.DEFINE_float(
  "params", 0.0, "Number of parameters instead of a preset: the account of state alone.", lower_bound=0
)
LAYOUT = flags.DEFINE_enum(
  "layout", "ddp", ("ddp", "zero1", "zero2", "zero3"), "What is sharded over the data axis."
)
DEVICES = quantities.DEFINE_integer("devices", 1, "Devices, all along the data axis.", 1, MAX_SIZE)
MESH = flags.DEFINE_string(
  "mesh", "", "Axes of the mesh, as in data=4,fsdp=8,tensor=2; instead of --devices."
)
BATCH = quantities.DEFINE_integer("batch", 0, "Rows of a step; 0: one per device.", 0, 1_048_576)
LENGTH = quantities.DEFINE_integer(
  "length", 0, "Positions of a row; 0: the preset's context, or 1024.", 0, MAX_SIZE
)
MICROBATCHES = quantities.DEFINE_integer("microbatches", 1, "Microbatches of a step.", lower_bound=1)
PRECISIONS = ("mixed", "float32", "float16", "bfloat16")
PRECISION = flags.DEFINE_enum(
  "precision", "mixed", PRECISIONS, "mixed: bfloat16 products; bfloat16: the state too."
)
REMAT = flags.DEFINE_enum("remat", "none", ("none", "dots", "full"), "What the backward pass recomputes.")
COMPILE = flags.DEFINE_boolean("compile", True, "Also compile the step for simulated devices.")
FIGURES = (".png", ".pdf", ".svg")
PLOT = outputs.DEFINE_file(
  "plot", "", "File for a figure of bytes per device against devices (.png, .pdf, .svg).", suffixes=FIGURES
)
CHIP = flags.DEFINE_string("chip", "", "Report whether a step fits onto this chip, such as h100 or v5p.")
memory_flags.define_flags()
JSON = outputs.DEFINE_json()

UNFIT = 1  # exit code


def main() -> int:
  """Counts and reports; returns 0 if the step fits, or if no chip is named."""
  if bool(PRESET.value) == bool(PARAMS.value):
    raise UserError("give either --preset=NAME or --params=NUMBER")
  if PARAMS.value and MESH.value:
    raise UserError("--mesh needs the shapes of a --preset; with --params give --devices")
  os.environ["JAX_PLATFORMS"] = "cpu"  # before jax is imported
  from gen.costs import memory_figure, memory_report, topologies
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  if memory_flags.is_asked():
    return memory_flags.print_account(target)
  chip = topologies.find_chip(CHIP.value) if CHIP.value else None
  if PARAMS.value:
    length = LENGTH.value or presets.DEFAULT_LENGTH
    account = memory_report.StateAccount(
      PARAMS.value, LAYOUT.value, DEVICES.value, PRECISION.value, BATCH.value, length, MICROBATCHES.value
    )
    report: StateReport | RunMemoryReport
    report, lines = memory_report.report_state(account)
  else:
    report, lines = _footprint()
  if chip:
    report, sentence = memory_report.judge_fit(report, CHIP.value, chip.memory)
    lines.append(sentence)
  if PLOT.value:
    memory_figure.write_figure(report.parameters, PRECISION.value, PLOT.value, PRESET.value)
  if target != json_report.STANDARD_OUTPUT:
    print("\n".join(lines))
  json_report.write_report(report, target)
  return UNFIT if report.fits is False else 0


def _footprint() -> tuple["RunMemoryReport", list[str]]:
  mesh = MESH.value or (f"data={DEVICES.value}" if DEVICES.value > 1 or LAYOUT.value != "ddp" else "")
  devices = math.prod(mesh_shape(mesh).values()) if MESH.value else DEVICES.value
  import jax

  from gen.costs import memory_report

  run = memory_report.preset_run(
    PRESET.value, mesh, LAYOUT.value, LENGTH.value, BATCH.value, MICROBATCHES.value, PRECISION.value, REMAT.value,
  )  # fmt: skip
  if COMPILE.value and devices > 1:
    jax.config.update("jax_num_cpu_devices", devices)  # before jax initializes its devices
  report = memory_report.report_run(run, PRESET.value, devices, PRECISION.value, COMPILE.value)
  return report, memory_report.run_lines(report)


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
