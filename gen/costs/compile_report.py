"""The trainer's step compiled for absent accelerators: what a step needs, sends and takes, and whether it fits."""

import dataclasses
import sys
import time
from typing import Any

from gen import counts
from gen.config import Run
from gen.costs import collectives, memory
from gen.costs.topologies import Topology
from gen.sharding import layouts
from gen.training import loop


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CompileReport:
  """A step compiled for a topology; sizes are bytes, `state_bytes_over_devices` that of all chips' account."""

  run: str
  parameters: int
  topology: str
  chips: int
  mesh: str
  layout: str
  batch: int
  length: int
  precision: str
  remat: str
  argument_bytes_per_device: int
  temporary_bytes_per_device: int
  peak_bytes_per_device: int
  memory_bytes_per_device: int
  fits: bool
  state_bytes_over_devices: float
  collective_bytes_per_device: dict[str, float]
  collective_bytes_are_complete: bool
  flops_per_step: float
  utilization: float
  step_seconds: float
  tokens_per_second: float
  compile_seconds: float


def prepare_run(run: Run, chips: int, precision: str) -> Run:
  """Returns the run as large models are compiled: a loop over layers, the precision's dtype, a mesh over all chips.

  Args:
    run: the run; a vocabulary of 0 takes that of its data.
    chips: devices of the mesh if the run has none.
    precision: of compute: mixed (bfloat16) | float32.
  """
  model = dataclasses.replace(
    run.model,
    # Large models are deep, and an unrolled program would take minutes to compile. A recurrent model's loop is over
    # time.
    scan=not run.model.recurrent,
    dtype="bfloat16" if precision == "mixed" else "float32",
    vocab=run.model.vocab or run.data.vocab,
    context=max(run.model.context, run.data.length) if run.model.context else 0,
  )
  # One step a dispatch, so that bytes and FLOPs of the program are those of a step. fsdp over all chips shards the
  # state most.
  return dataclasses.replace(run, model=model, steps_per_dispatch=1, mesh=run.mesh or f"fsdp={chips}")


def compile_report(
  run: Run, topology: Topology, devices: list[Any], precision: str, utilization: float
) -> CompileReport:
  """Compiles a step for a topology and returns the report.

  Args:
    run: as `prepare_run` returns it.
    topology: the chips.
    devices: the topology's devices, one per chip.
    precision: of compute, for the report.
    utilization: assumed share of the chips' peak rate, of which the time of a step follows.
  """
  layout = layouts.layout_of_run(run, devices)
  parameters = counts.count_parameters(run.model).total
  print(f"compiling {run.name}, {parameters:,} parameters, for {topology.name}", file=sys.stderr)
  begun = time.monotonic()
  sizes, text = memory.compile_step(run, layout)
  flops = loop.flops_per_row(run) * run.data.batch
  rate = topology.chip.flops_per_second * topology.chips
  return CompileReport(
    run=run.name,
    parameters=parameters,
    topology=topology.name,
    chips=topology.chips,
    mesh=run.mesh,
    layout=run.layout,
    batch=run.data.batch,
    length=run.data.length,
    precision=precision,
    remat=run.model.remat,
    argument_bytes_per_device=sizes.arguments,
    temporary_bytes_per_device=sizes.temporaries,
    peak_bytes_per_device=sizes.peak,
    memory_bytes_per_device=topology.chip.memory,
    # The compiler's peak leaves nothing for a runtime's own buffers, so a step that just fits may fail on the chip.
    fits=sizes.peak <= topology.chip.memory,
    state_bytes_over_devices=memory.run_footprint(run).state,
    collective_bytes_per_device=collectives.by_kind(collectives.collectives_of_program(text)),
    collective_bytes_are_complete=collectives.loops_are_known(text),
    flops_per_step=flops,
    utilization=utilization,
    # FLOPs of the model alone: what remat recomputes belongs to the utilization that is assumed (MFU).
    step_seconds=flops / rate / utilization,
    tokens_per_second=run.data.batch * loop.row_length(run).tokens * rate * utilization / flops,
    compile_seconds=time.monotonic() - begun,
  )


def report_lines(report: CompileReport) -> list[str]:
  """Returns the lines of `compile_report`'s report, in GiB per chip."""
  size = {
    name: getattr(report, f"{name}_bytes_per_device") / 2**30
    for name in ("argument", "temporary", "peak", "memory")
  }
  sent = ", ".join(
    f"{kind} {bytes / 2**30:.2f}" for kind, bytes in report.collective_bytes_per_device.items()
  )
  if not report.collective_bytes_are_complete:
    sent += " or more: a loop whose length the program does not state (such as over layers) counts once"
  excess = size["peak"] - size["memory"]
  verdict = "fits" if report.fits else (
    f"does not fit: {excess:.1f} GiB too much; shard more (--config.mesh, --config.layout=zero3), recompute"
    " (--config.model.remat=full), or use more microbatches (--config.optimizer.microbatches)"
  )  # fmt: skip
  return [
    f"{report.run}, {report.parameters:,} parameters, on {report.chips} chips ({report.topology}), mesh "
    f"{report.mesh}, {report.layout}, batch {report.batch} x {report.length}, {report.precision}, remat "
    f"{report.remat}; GiB per chip",
    f"  arguments (state and batch){size['argument']:10.2f}",
    f"  temporaries                {size['temporary']:10.2f}",
    f"  peak                       {size['peak']:10.2f}   of {size['memory']:.0f}: {verdict}",
    f"  sent in a step: {sent or 'nothing'}",
    f"{report.flops_per_step:.3g} FLOPs per step, counted; at a utilization of {report.utilization:g} "
    f"{report.step_seconds:.3g} s, {report.tokens_per_second:,.0f} tokens/s",
    f"compiled in {report.compile_seconds:.0f} s",
  ]
