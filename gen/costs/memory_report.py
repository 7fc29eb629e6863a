"""Reports of memory and traffic for one layout, as JSON values and as lines for the terminal.

Two accounts exist: of a number of parameters (state alone), and of a run, counted from its config and, if asked, by the
compiler for simulated devices.
"""

import dataclasses
from typing import NamedTuple, TypeVar

from gen import counts, presets
from gen.config import Data, Optimizer, Run, mesh_shape, validation
from gen.costs import collectives, memory
from gen.costs.memory import CollectiveTraffic, FootprintReport
from gen.sharding import layouts, state_bytes

PARTS = ("parameters", "gradients", "opt_state", "master_copies")
# In the order of falling memory and rising recomputation.
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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ChipFit:
  """Whether a step fits onto a chip; all are None where no chip is named.

  Attributes:
    chip: name of the chip.
    memory_bytes_per_device: its memory.
    fits: whether the step fits.
  """

  chip: str | None = None
  memory_bytes_per_device: int | None = None
  fits: bool | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StateReport(ChipFit):
  """The account of state for a number of parameters; sizes are bytes.

  Attributes:
    account: what is counted, in words.
    parameters: N.
    layout: a ZeRO stage.
    devices: devices along the data axis.
    precision: as in `state_bytes.PRECISIONS`.
    bytes_per_parameter: on one device.
    state_bytes_per_device: the sum of the next four.
    parameters_bytes_per_device: of parameters.
    gradients_bytes_per_device: of gradients.
    opt_state_bytes_per_device: of the optimizer's state.
    master_copies_bytes_per_device: of float32 copies.
    step_bytes_per_device: of a step of a decoder of that size.
    step_bytes_per_device_full_remat: of a step that recomputes all activations.
    rule_of_thumb_bytes: for one device in float32.
    collectives: what each device sends in a step.
  """

  account: str
  parameters: float
  layout: str
  devices: int
  precision: str
  bytes_per_parameter: float
  state_bytes_per_device: float
  parameters_bytes_per_device: float
  gradients_bytes_per_device: float
  opt_state_bytes_per_device: float
  master_copies_bytes_per_device: float
  step_bytes_per_device: float
  step_bytes_per_device_full_remat: float
  rule_of_thumb_bytes: float
  collectives: list[CollectiveTraffic]


@dataclasses.dataclass(frozen=True, slots=True)
class RematPolicy:
  """Bytes of a step per device if the backward pass recomputes a part of the activations, and its share of FLOPs."""

  activations_bytes_per_device: float
  peak_bytes_per_device: float
  recomputed_share_of_flops: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CompiledReport:
  """The compiler's sizes of a step, and the bytes that each device sends by the kind of collective."""

  arguments_bytes_per_device: int
  temporaries_bytes_per_device: int
  peak_bytes_per_device: int
  collective_bytes_per_device: dict[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RunMemoryReport(FootprintReport):
  """The footprint of a run; sizes are bytes per device.

  Attributes:
    preset: name of the model.
    parameters: all of them.
    layout: a ZeRO stage.
    mesh: as in `--config.mesh`.
    devices: of the mesh.
    precision: of compute.
    batch: rows of a step.
    length: positions of a row.
    remat: what the backward pass recomputes.
    remat_policies: sizes by `REMATS`.
    compiler: of the compiled step; None if it was not compiled.
    chip: as of `ChipFit`.
    memory_bytes_per_device: as of `ChipFit`.
    fits: as of `ChipFit`.
  """

  preset: str
  parameters: int
  layout: str
  mesh: str
  devices: int
  precision: str
  batch: int
  length: int
  remat: str
  remat_policies: dict[str, RematPolicy]
  compiler: CompiledReport | None = None
  chip: str | None = None
  memory_bytes_per_device: int | None = None
  fits: bool | None = None


MemoryReport = TypeVar("MemoryReport", bound=StateReport | RunMemoryReport)


def report_state(account: StateAccount) -> tuple[StateReport, list[str]]:
  """Returns the account of state for a number of parameters, as a record and as lines; sizes are bytes."""
  parameters, layout, devices, precision, batch, length, microbatches = account
  state = state_bytes.state_bytes(parameters, layout, devices, precision)
  # A device has one row at least, or it would have nothing to do.
  rows = max(1, batch // devices)
  shape = state_bytes.decoder_shape(parameters)
  steps = {
    remat: state.total + state_bytes.activation_bytes(shape, rows, length, precision, remat)
    for remat in ("none", "full")
  }
  each = state_bytes.PRECISIONS[precision]
  # Gradients travel in the type that they are stored in, which `PRECISIONS` gives.
  moves = state_bytes.step_collectives(
    parameters * each.parameters, parameters * each.gradients, layout, {"data": devices}, microbatches
  )
  report = StateReport(
    account="state alone: parameters, gradients, moments and master copies; no activations, no temporaries",
    parameters=parameters,
    layout=layout,
    devices=devices,
    precision=precision,
    bytes_per_parameter=each.total,
    state_bytes_per_device=state.total,
    parameters_bytes_per_device=state.parameters,
    gradients_bytes_per_device=state.gradients,
    opt_state_bytes_per_device=state.opt_state,
    master_copies_bytes_per_device=state.master_copies,
    step_bytes_per_device=steps["none"],
    step_bytes_per_device_full_remat=steps["full"],
    rule_of_thumb_bytes=state_bytes.rule_of_thumb(parameters),
    collectives=[CollectiveTraffic(*move) for move in moves],
  )
  lines = [
    f"{parameters:g} parameters, {layout} on {devices} devices, {precision}: account of state, GB per device",
    *(f"  {name.replace('_', ' '):<15}{getattr(state, name) / 1e9:12.3f}" for name in PARTS),
    f"  {'state':<15}{state.total / 1e9:12.3f}   ({each.total:g} bytes per parameter in total)",
    f"a step of a decoder of that size ({shape.depth} layers, width {shape.width}), {rows} rows of {length} per "
    f"device: {steps['none'] / 1e9:.1f} GB, with full remat {steps['full'] / 1e9:.1f} GB",
    f"rule of thumb for one device in float32, 4 + 20 bytes per parameter: "
    f"{state_bytes.rule_of_thumb(parameters) / 1e9:.1f} GB",
    *_traffic_lines(report.collectives),
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
    precision: of compute: mixed (bfloat16) | float32 | float16; bfloat16 is mixed with a state in it too.
    remat: what the backward pass recomputes: none | dots | full.

  Raises:
    UserError: for an unknown preset, or sizes that do not divide.
  """
  sizes = mesh_shape(mesh)
  model = presets.get_model(name)
  length = length or presets.get_length(name)
  dtype = precision if precision in ("float32", "float16") else "bfloat16"
  stored = "bfloat16" if precision == "bfloat16" else "float32"
  # Scanned, as large models are trained; the account of activations is exact only then (`gen.costs.activations`).
  model = dataclasses.replace(model, scan=True, dtype=dtype, remat=remat, context=max(model.context, length))
  # Each data-parallel device needs a row in each microbatch.
  rows = sizes.get("data", 1) * sizes.get("fsdp", 1) * microbatches
  run = Run(
    name=name,
    model=model,
    data=Data(objective=presets.get_objective(name), length=length, batch=batch or rows),
    optimizer=Optimizer(microbatches=microbatches, moment_dtype=stored, param_dtype=stored),
    steps=1,
    steps_per_dispatch=1,
    mesh=mesh,
    layout=layout,
  )
  validation.check_run(run)
  return run


def report_run(run: Run, name: str, devices: int, precision: str, compiles: bool) -> RunMemoryReport:
  """Returns the footprint of a run; sizes are bytes per device.

  Args:
    run: a checked run with a mesh.
    name: of the model, for the report.
    devices: devices of the mesh.
    precision: of compute, for the report.
    compiles: whether the step is also compiled, for the devices that jax has.
  """
  policies = {}
  # All three policies, because the question behind a report is mostly which one fits.
  for remat in REMATS:
    variant = dataclasses.replace(run, model=dataclasses.replace(run.model, remat=remat))
    footprint = memory.run_footprint(variant)
    policies[remat] = RematPolicy(footprint.activations, footprint.peak, memory.recomputed_share(variant))
  report = memory.report_footprint(run, memory.run_footprint(run), memory.moved_bytes(run))
  return RunMemoryReport(
    preset=name,
    parameters=counts.count_parameters(run.model).total,
    layout=run.layout,
    mesh=run.mesh,
    devices=devices,
    precision=precision,
    batch=run.data.batch,
    length=run.data.length,
    remat=run.model.remat,
    **{field.name: getattr(report, field.name) for field in dataclasses.fields(report)},
    remat_policies=policies,
    compiler=_compiled_sizes(run) if compiles else None,
  )


def _compiled_sizes(run: Run) -> CompiledReport:
  """Returns the compiler's sizes and collectives of a step."""
  sizes, text = memory.compile_step(run, layouts.layout_of_run(run))
  sent = collectives.by_kind(collectives.collectives_of_program(text))
  return CompiledReport(
    arguments_bytes_per_device=sizes.arguments,
    temporaries_bytes_per_device=sizes.temporaries,
    peak_bytes_per_device=sizes.peak,
    collective_bytes_per_device=sent,
  )


def judge_fit(report: MemoryReport, chip: str, chip_bytes: int) -> tuple[MemoryReport, str]:
  """Returns the report with whether a step fits onto a chip, and the sentence.

  Args:
    report: of `report_state` or `report_run`.
    chip: name of the chip.
    chip_bytes: its memory.
  """
  # An account by parameters has no remat; its step is the one that keeps all activations.
  peak = report.step_bytes_per_device if isinstance(report, StateReport) else report.peak_bytes_per_device
  fits = peak <= chip_bytes
  sentence = (
    f"{peak / 2**30:.2f} of {chip_bytes / 2**30:.0f} GiB of one {chip}: {'fits' if fits else 'does not fit'}, by this "
    "account"
  )
  return dataclasses.replace(report, chip=chip, memory_bytes_per_device=chip_bytes, fits=fits), sentence


def run_lines(report: RunMemoryReport) -> list[str]:
  """Returns the lines of `report_run`'s report, in MiB per device."""

  def row(name: str, key: str, note: str = "") -> str:
    # MiB, as the compiler's own messages; the account of the ZeRO paper above is in GB, as the paper.
    return f"  {name:<22}{getattr(report, f'{key}_bytes_per_device') / 2**20:14,.1f}   {note}".rstrip()

  compiler = report.compiler
  lines = [
    f"{report.preset}, {report.parameters:,} parameters, {report.layout} on {report.devices} devices "
    f"({report.mesh or 'no mesh'}), batch {report.batch} x {report.length}, {report.precision}, remat "
    f"{report.remat}; MiB per device",
    row("parameters", "parameters", "they are the master copies"),
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
      f"{name} {getattr(compiler, f'{name}_bytes_per_device') / 2**20:,.1f}"
      for name in ("arguments", "temporaries", "peak")
    )
    lines.append(f"compiler: {', '.join(sizes)}")
    # Only these layouts scatter gradients, so only their compiled peak differs by it.
    if report.layout in ("zero2", "zero3") or "fsdp" in report.mesh:
      lines.append(CPU_GRADIENTS)
  for remat, policy in report.remat_policies.items():
    lines.append(
      f"  remat {remat:<6} keeps {policy.activations_bytes_per_device / 2**20:12,.1f}, peak "
      f"{policy.peak_bytes_per_device / 2**20:12,.1f}; recomputes {policy.recomputed_share_of_flops:.1%} of the "
      "FLOPs"
    )
  lines += _traffic_lines(report.collectives)
  if compiler:
    sent = compiler.collective_bytes_per_device
    kinds = ", ".join(f"{kind} {size / 2**20:,.1f}" for kind, size in sent.items()) or "none"
    lines.append(f"compiler's collectives, MiB sent by each device: {kinds}")
  return lines


def _traffic_lines(moves: list[CollectiveTraffic]) -> list[str]:
  return [
    f"  {move.kind} of {move.what} over {move.over}: {move.bytes / 2**20:,.1f} MiB sent by each device"
    for move in moves
  ]
