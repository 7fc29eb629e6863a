"""Reports of memory and traffic for one layout, as JSON values and as lines for the terminal.

Two accounts exist: of a number of parameters (state alone), and of a run, counted from its config and, if asked, by the
compiler for simulated devices.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from gen import counts, presets
from gen.config import Data, Optimizer, Run, mesh_shape, validation
from gen.costs import collectives, memory
from gen.sharding import layouts, state_bytes

PARTS = ("parameters", "gradients", "opt_state", "master_copies")
REMATS = ("none", "dots", "full")
# XLA's CPU backend sums gradients before it shards them, so the compiled peak is higher than on accelerators.
CPU_GRADIENTS = (
  "  (for CPUs, which shard gradients only after summing them; compile_for.py compiles for GPUs and TPUs)"
)


class StateAccount(NamedTuple):
  """What an account of state depends on.

  Attributes:
    parameters: N.
    layout: a ZeRO stage, as in `layouts.STAGES`.
    devices: devices along the data axis.
    precision: as in `state_bytes.PRECISIONS`.
    rows: rows of a step, on all devices together.
    length: positions of a row.
    microbatches: parts of a step's batch.
  """

  parameters: float
  layout: str
  devices: int
  precision: str
  rows: int
  length: int
  microbatches: int


def report_state(account: StateAccount) -> tuple[dict[str, Any], list[str]]:
  """Returns the account of state for a number of parameters, as JSON values and as lines; sizes are bytes."""
  parameters, layout, devices, precision, batch, length, microbatches = account
  state = state_bytes.state_bytes(parameters, layout, devices, precision)
  rows = max(1, batch // devices)
  shape = state_bytes.decoder_shape(parameters)
  steps = {
    remat: state.total + state_bytes.activation_bytes(shape, rows, length, precision, remat)
    for remat in ("none", "full")
  }
  each = state_bytes.PRECISIONS[precision]
  moves = state_bytes.step_collectives(
    parameters * each.parameters, parameters * each.gradients, layout, {"data": devices}, microbatches
  )
  report = {
    "account": "state alone: parameters, gradients, moments and master copies; no activations, no temporaries",
    "parameters": parameters,
    "layout": layout,
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
    f"{parameters:g} parameters, {layout} on {devices} devices, {precision}: account of state, GB per device",
    *(f"  {name.replace('_', ' '):<15}{getattr(state, name) / 1e9:12.3f}" for name in PARTS),
    f"  {'state':<15}{state.total / 1e9:12.3f}   ({each.total:g} bytes per parameter in total)",
    f"a step of a decoder of that size ({shape.depth} layers, width {shape.width}), {rows} rows of {length} per "
    f"device: {steps['none'] / 1e9:.1f} GB, with full remat {steps['full'] / 1e9:.1f} GB",
    f"rule of thumb for one device in float32, 4 + 20 bytes per parameter: "
    f"{state_bytes.rule_of_thumb(parameters) / 1e9:.1f} GB",
    *_traffic_lines(report["collectives"]),
  ]
  return report, lines


def preset_run(
  name: str, mesh: str, layout: str, length: int, batch: int, microbatches: int, precision: str, remat: str
) -> Run:
  """Returns the checked run of a preset, of one step.

  Args:
    name: of the preset.
    mesh: as in `--config.mesh`.
    layout: a ZeRO stage, as in `layouts.STAGES`.
    length: positions of a row; 0 is the preset's context.
    batch: rows of a step; 0 is one row per device and microbatch.
    microbatches: parts of a step's batch.
    precision: of compute: mixed (bfloat16) | float32.
    remat: what the backward pass recomputes: none | dots | full.

  Raises:
    UserError: for an unknown preset, or sizes that do not divide.
  """
  sizes = mesh_shape(mesh)
  model = presets.get_model(name)
  length = length or presets.get_length(name)
  dtype = "bfloat16" if precision == "mixed" else "float32"
  model = dataclasses.replace(model, scan=True, dtype=dtype, remat=remat, context=max(model.context, length))
  rows = sizes.get("data", 1) * sizes.get("fsdp", 1) * microbatches
  run = Run(
    name=name,
    model=model,
    data=Data(objective=presets.get_objective(name), length=length, batch=batch or rows),
    optimizer=Optimizer(microbatches=microbatches),
    steps=1,
    steps_per_dispatch=1,
    mesh=mesh,
    layout=layout,
  )
  validation.check_run(run)
  return run


def report_run(run: Run, name: str, devices: int, precision: str, compiles: bool) -> dict[str, Any]:
  """Returns the footprint of a run as JSON values; sizes are bytes per device.

  Args:
    run: a checked run with a mesh.
    name: of the model, for the report.
    devices: devices of the mesh.
    precision: of compute, for the report.
    compiles: whether the step is also compiled, for the devices that jax has.
  """
  report: dict[str, Any] = {
    "preset": name,
    "parameters": counts.count_parameters(run.model).total,
    "layout": run.layout,
    "mesh": run.mesh,
    "devices": devices,
    "precision": precision,
    "batch": run.data.batch,
    "length": run.data.length,
    "remat": run.model.remat,
  }
  policies = {}
  for remat in REMATS:
    variant = dataclasses.replace(run, model=dataclasses.replace(run.model, remat=remat))
    footprint = memory.run_footprint(variant)
    policies[remat] = {
      "activations_bytes_per_device": footprint.kept,
      "peak_bytes_per_device": footprint.peak,
      "recomputed_share_of_flops": memory.recomputed_share(variant),
    }
    if remat == run.model.remat:
      report |= memory.as_dict(run, footprint, memory.moved_bytes(run))
  report["remat_policies"] = policies
  if compiles:
    report["compiler"] = _compiled_sizes(run)
  return report


def _compiled_sizes(run: Run) -> dict[str, Any]:
  """Returns the compiler's sizes and collectives of a step."""
  sizes, text = memory.compile_step(run, layouts.layout_of_run(run))
  sent = collectives.by_kind(collectives.collectives_of_program(text))
  return {f"{name}_bytes_per_device": size for name, size in sizes._asdict().items()} | {
    "collective_bytes_per_device": sent
  }


def judge_fit(report: dict[str, Any], chip: str, chip_bytes: int) -> str:
  """Adds to a report whether a step fits onto a chip, and returns the sentence.

  Args:
    report: of `report_state` or `report_run`; gets the fields chip, memory_bytes_per_device and fits.
    chip: name of the chip.
    chip_bytes: its memory.
  """
  peak = report.get("peak_bytes_per_device", report.get("step_bytes_per_device", 0))
  report |= {"chip": chip, "memory_bytes_per_device": chip_bytes, "fits": peak <= chip_bytes}
  verdict = "fits" if report["fits"] else "does not fit"
  return f"{peak / 2**30:.2f} of {chip_bytes / 2**30:.0f} GiB of one {chip}: {verdict}, by this account"


def run_lines(report: Mapping[str, Any]) -> list[str]:
  """Returns the lines of `report_run`'s report, in MiB per device."""

  def row(name: str, key: str, note: str = "") -> str:
    return f"  {name:<22}{report[f'{key}_bytes_per_device'] / 2**20:14,.1f}   {note}".rstrip()

  compiler = report.get("compiler", {})
  lines = [
    f"{report['preset']}, {report['parameters']:,} parameters, {report['layout']} on {report['devices']} devices "
    f"({report['mesh'] or 'no mesh'}), batch {report['batch']} x {report['length']}, {report['precision']}, remat "
    f"{report['remat']}; MiB per device",
    row("parameters", "parameters", "float32: they are the master copies"),
    row("gradients", "gradients"),
    row("optimizer state", "opt_state"),
    row("master copies", "master_copies"),
    row("state", "state", "the account of the ZeRO paper"),
    row("live between steps", "live"),
    row("activations", "activations", "kept for the backward pass"),
    row("temporaries", "working", "an estimate"),
    row("gathered weights", "gathered", "unsharded for a product; an estimate"),
    row("peak of a step", "peak"),
    row("cache of generation", "cache", "for as many rows and positions, in addition to the parameters"),
  ]
  if compiler:
    sizes = (
      f"{name} {compiler[f'{name}_bytes_per_device'] / 2**20:,.1f}"
      for name in ("arguments", "temporaries", "peak")
    )
    lines.append(f"compiler: {', '.join(sizes)}")
    if report["layout"] in ("zero2", "zero3") or "fsdp" in report["mesh"]:
      lines.append(CPU_GRADIENTS)
  for remat, policy in report["remat_policies"].items():
    lines.append(
      f"  remat {remat:<6} keeps {policy['activations_bytes_per_device'] / 2**20:12,.1f}, peak "
      f"{policy['peak_bytes_per_device'] / 2**20:12,.1f}; recomputes {policy['recomputed_share_of_flops']:.1%} of the "
      "FLOPs"
    )
  lines += _traffic_lines(report["collectives"])
  if compiler:
    sent = compiler["collective_bytes_per_device"]
    kinds = ", ".join(f"{kind} {size / 2**20:,.1f}" for kind, size in sent.items()) or "none"
    lines.append(f"compiler's collectives, MiB sent by each device: {kinds}")
  return lines


def _traffic_lines(moves: list[dict[str, Any]]) -> list[str]:
  return [
    f"  {move['kind']} of {move['what']} over {move['over']}: {move['bytes'] / 2**20:,.1f} MiB sent by each device"
    for move in moves
  ]
