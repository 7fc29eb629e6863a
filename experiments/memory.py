"""What does a layout cost, before it is run: bytes on each device, and bytes between devices?

  uv run experiments/memory.py --preset=gpt2-xl --layout=zero3 --devices=64 --batch=64 --nocompile
  uv run experiments/memory.py --params=7.5e9 --layout=zero2 --devices=64 --precision=mixed --json=-

With a preset: the trainer's own state, exactly, what a step keeps and needs, and beside it what the compiler says of
the same step for as many simulated devices (--nocompile leaves that out, and with it most of the time). Without one:
the account of state alone, for any number of parameters.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from gen import counts, presets
from gen.cli import launch
from gen.config import Data, Optimizer, Run, mesh_shape
from gen.errors import UserError
from gen.io import outputs, quantities

PRESET = flags.DEFINE_string("preset", "", "Named model, as in docs/families.md.")
PARAMS = quantities.DEFINE_float(
  "params", 0.0, "Parameters, in place of a preset: the account of state alone.", lower_bound=0
)
LAYOUT = flags.DEFINE_enum("layout", "ddp", ("ddp", "zero1", "zero2", "zero3"), "What is split over data.")
DEVICES = quantities.DEFINE_integer(
  "devices", 1, "Devices, all along data.", lower_bound=1, upper_bound=2**31 - 1
)
MESH = flags.DEFINE_string(
  "mesh", "", "Axes of the devices, as data=4,fsdp=8,tensor=2; in place of --devices."
)
BATCH = quantities.DEFINE_integer(
  "batch", 0, "Rows of a step; 0 is one a device.", lower_bound=0, upper_bound=1_048_576
)
LENGTH = quantities.DEFINE_integer(
  "length",
  0,
  "Positions of a row; 0 is the preset's context, else 1024.",
  lower_bound=0,
  upper_bound=2**31 - 1,
)
MICROBATCHES = quantities.DEFINE_integer("microbatches", 1, "Parts of a step's batch.", lower_bound=1)
PRECISION = flags.DEFINE_enum("precision", "mixed", ("mixed", "float32"), "Of compute.")
REMAT = flags.DEFINE_enum(
  "remat", "none", ("none", "dots", "full"), "What is computed again in the backward pass."
)
COMPILE = flags.DEFINE_boolean("compile", True, "Also ask the compiler, for simulated devices.")
PLOT = outputs.DEFINE_file(
  "plot",
  "",
  "Draw bytes on each device against devices into this file (.png, .pdf).",
  suffixes=(".png", ".pdf", ".svg"),
)
CHIP = flags.DEFINE_string("chip", "", "Say whether a step fits onto such a chip, as h100 or v5p.")
JSON = outputs.DEFINE_json()

UNFIT = 1  # exit code
CPU_GRADIENTS = (
  "  (for CPUs, whose sums leave gradients whole for a time; compile_for.py asks for GPUs and TPUs)"
)
PARTS = ("parameters", "gradients", "opt_state", "master_copies")


def main() -> int:
  """Counts and reports; returns 0 if the step fits, or nobody asked."""
  if bool(PRESET.value) == bool(PARAMS.value):
    raise UserError("give either --preset=NAME or --params=NUMBER")
  if PLOT.value and not Path(PLOT.value).parent.is_dir():
    raise UserError(f"--plot={PLOT.value}: no folder {Path(PLOT.value).parent}; make it first")
  from gen.costs import topologies
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  chip = topologies.find_chip(CHIP.value) if CHIP.value else None
  found, lines = _of_parameters(PARAMS.value) if PARAMS.value else _of_preset(PRESET.value)
  if chip:
    lines.append(_judge(found, CHIP.value, chip.memory))
  if PLOT.value:
    from gen.costs import memory_figure

    memory_figure.write_figure(found["parameters"], PRECISION.value, PLOT.value, PRESET.value)
  if target is not None:
    json_report.write_report(found, target)
  if target != json_report.STANDARD_OUTPUT:
    print("\n".join(lines))
  return 0 if found.get("fits", True) else UNFIT


def _judge(found: dict[str, Any], chip: str, memory: int) -> str:
  """Adds to the numbers whether a step fits onto a chip; returns the sentence."""
  peak = found["peak_bytes_per_device" if PRESET.value else "step_bytes_per_device"]
  found |= {"chip": chip, "memory_bytes_per_device": memory, "fits": peak <= memory}
  verdict = "fits" if found["fits"] else "does not fit"
  return f"{peak / 2**30:.2f} of {memory / 2**30:.0f} GiB of one {chip}: {verdict}, by this account"


def _of_parameters(parameters: float) -> tuple[dict[str, Any], list[str]]:
  """Returns the account of so many parameters, as JSON holds it and as lines."""
  from gen.sharding import state_bytes

  if MESH.value:
    raise UserError("--mesh needs the shapes of a --preset; an account of --params takes --devices")
  devices, length, precision = DEVICES.value, LENGTH.value or presets.DEFAULT_LENGTH, PRECISION.value
  state = state_bytes.state_bytes(parameters, LAYOUT.value, devices, precision)
  rows = max(1, BATCH.value // devices)
  shape = state_bytes.decoder_shape(parameters)
  steps = {
    remat: state.total + state_bytes.activation_bytes(shape, rows, length, precision, remat)
    for remat in ("none", "full")
  }
  each = state_bytes.PRECISIONS[precision]
  moves = state_bytes.step_collectives(
    parameters * each.parameters,
    parameters * each.gradients,
    LAYOUT.value,
    {"data": devices},
    MICROBATCHES.value,
  )
  found = {
    "account": "state alone: parameters, gradients, moments and master copies; no activations, no temporaries",
    "parameters": parameters,
    "layout": LAYOUT.value,
    "devices": devices,
    "precision": precision,
    "bytes_per_parameter": each.total,
    "state_bytes_per_device": state.total,
    **{f"{name}_bytes_per_device": getattr(state, name) for name in PARTS},
    "step_bytes_per_device": steps["none"],
    "step_bytes_per_device_full_remat": steps["full"],
    "rule_of_thumb_bytes": state_bytes.rule_of_thumb(parameters),
    "collectives": [move._asdict() for move in moves],
  }
  lines = [
    f"{parameters:g} parameters, {LAYOUT.value} on {devices} devices, {precision}: account of state, GB per device",
    *(f"  {name.replace('_', ' '):<15}{getattr(state, name) / 1e9:12.3f}" for name in PARTS),
    f"  {'state':<15}{state.total / 1e9:12.3f}   ({each.total:g} bytes a parameter in all)",
    f"a full step of a decoder of that size ({shape.depth} layers, width {shape.width}), {rows} rows of {length} a "
    f"device: {steps['none'] / 1e9:.1f} GB, with full remat {steps['full'] / 1e9:.1f} GB",
    f"rule of thumb for one device in float32, 4 + 20 bytes a weight: "
    f"{state_bytes.rule_of_thumb(parameters) / 1e9:.1f} GB",
    *_moves(found["collectives"]),
  ]
  return found, lines


def _of_preset(name: str) -> tuple[dict[str, Any], list[str]]:
  """Returns the footprint of a preset's run, as JSON holds it and as lines."""
  run = _run(name)
  sizes = mesh_shape(run.mesh)
  devices = DEVICES.value if not MESH.value else _product(sizes)
  _simulate(devices)
  from gen.costs import memory

  found: dict[str, Any] = {
    "preset": name,
    "parameters": counts.count_parameters(run.model).total,
    "layout": run.layout,
    "mesh": run.mesh,
    "devices": devices,
    "precision": PRECISION.value,
    "batch": run.data.batch,
    "length": run.data.length,
    "remat": run.model.remat,
  }
  print_remat = {}
  for remat in ("none", "dots", "full"):
    other = dataclasses.replace(run, model=dataclasses.replace(run.model, remat=remat))
    here = memory.run_footprint(other)
    print_remat[remat] = {
      "activations_bytes_per_device": here.kept,
      "peak_bytes_per_device": here.peak,
      "recomputed_share_of_flops": memory.recomputed_share(other),
    }
    if remat == run.model.remat:
      found |= memory.as_dict(run, here, memory.moved_bytes(run))
  found["remat_policies"] = print_remat
  if COMPILE.value:
    found |= _compiler(run)
  return found, _lines(found)


def _run(name: str) -> Run:
  """Returns the run that the flags describe."""
  from gen.config import validation

  mesh = MESH.value or (f"data={DEVICES.value}" if DEVICES.value > 1 or LAYOUT.value != "ddp" else "")
  sizes = mesh_shape(mesh)
  model = presets.get_model(name)
  length = LENGTH.value or presets.get_length(name)
  dtype = "bfloat16" if PRECISION.value == "mixed" else "float32"
  model = dataclasses.replace(
    model, scan=True, dtype=dtype, remat=REMAT.value, context=max(model.context, length)
  )
  rows = sizes.get("data", 1) * sizes.get("fsdp", 1) * MICROBATCHES.value
  run = Run(
    name=name,
    model=model,
    data=Data(objective=presets.get_objective(name), length=length, batch=BATCH.value or rows),
    optimizer=Optimizer(microbatches=MICROBATCHES.value),
    steps=1,
    steps_per_dispatch=1,
    mesh=mesh,
    layout=LAYOUT.value,
  )
  validation.check_run(run)
  return run


def _product(sizes: Mapping[str, int]) -> int:
  product = 1
  for size in sizes.values():
    product *= size
  return product


def _simulate(devices: int) -> None:
  """Gives this process so many simulated devices; must come before jax looks for any."""
  os.environ["JAX_PLATFORMS"] = "cpu"
  import jax

  if COMPILE.value and devices > 1:
    jax.config.update("jax_num_cpu_devices", devices)


def _compiler(run: Run) -> dict[str, Any]:
  from gen.costs import collectives, memory
  from gen.sharding import layouts

  sizes, text = memory.compile_step(run, layouts.layout_of_run(run))
  return {
    "compiler": {f"{name}_bytes_per_device": size for name, size in sizes._asdict().items()}
    | {"collective_bytes_per_device": collectives.by_kind(collectives.collectives_of_program(text))}
  }


def _lines(found: Mapping[str, Any]) -> list[str]:
  """Returns the report of a preset."""

  def row(name: str, key: str, more: str = "") -> str:
    return f"  {name:<22}{found[f'{key}_bytes_per_device'] / 2**20:14,.1f}   {more}".rstrip()

  said = found.get("compiler", {})
  lines = [
    f"{found['preset']}, {found['parameters']:,} parameters, {found['layout']} on {found['devices']} devices "
    f"({found['mesh'] or 'no mesh'}), batch {found['batch']} x {found['length']}, {found['precision']}, remat "
    f"{found['remat']}; MiB per device",
    row("parameters", "parameters", "float32: they are the master copies"),
    row("gradients", "gradients"),
    row("optimizer state", "opt_state"),
    row("master copies", "master_copies"),
    row("state", "state", "the account of ZeRO's paper"),
    row("live between steps", "live"),
    row("activations kept", "activations"),
    row("temporaries", "working", "an estimate"),
    row("weights in passing", "gathered", "put together for a product; an estimate"),
    row("peak of a step", "peak"),
    row("cache of generation", "cache", "as many rows and positions, beside the parameters alone"),
  ]
  if said:
    sizes = (
      f"{name} {said[f'{name}_bytes_per_device'] / 2**20:,.1f}"
      for name in ("arguments", "temporaries", "peak")
    )
    lines.append(f"the compiler: {', '.join(sizes)}")
    if found["layout"] in ("zero2", "zero3") or "fsdp" in found["mesh"]:
      lines.append(CPU_GRADIENTS)
  for remat, each in found["remat_policies"].items():
    lines.append(
      f"  remat {remat:<6} keeps {each['activations_bytes_per_device'] / 2**20:12,.1f}, peak "
      f"{each['peak_bytes_per_device'] / 2**20:12,.1f}; {each['recomputed_share_of_flops']:.1%} of the FLOPs twice"
    )
  lines += _moves(found["collectives"])
  if said:
    lines.append(f"the compiler's, by kind: {_kinds(said['collective_bytes_per_device'])}")
  return lines


def _kinds(sizes: Mapping[str, float]) -> str:
  return ", ".join(f"{kind} {size / 2**20:,.1f}" for kind, size in sizes.items()) or "none"


def _moves(moves: list[dict[str, Any]]) -> list[str]:
  return [
    f"  {move['kind']} of {move['what']} over {move['over']}: {move['bytes'] / 2**20:,.1f} MiB sent by each device"
    for move in moves
  ]


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
