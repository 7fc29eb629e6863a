"""Does this run fit onto accelerators that I do not have? The trainer's own step, compiled for them.

  uv run --extra tpu experiments/compile_for.py --topology=v5p:4x4x4 --preset=chinchilla-70b \
    --config.mesh=fsdp=16,tensor=4 --config.data.length=2048 --config.data.batch=64 --config.model.remat=full

  uv run --extra absent-gpus experiments/compile_for.py --topology=h100:8 --preset=gpt2 --config.mesh=data=8 \
    --config.layout=zero2 --config.data.batch=64

XLA compiles for a topology of TPUs or GPUs without having one. Says what a step holds on each chip, what it sends, how
long it takes at a stated utilization, and whether it fits. Layers are compiled once and looped over (model.scan),
products are bfloat16 unless --precision=float32; parameters and moments are float32. Minutes for a large model.
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Mapping
from typing import Any

from absl import flags

from gen import counts
from gen.cli import launch
from gen.config import Run
from gen.errors import UserError
from gen.io import outputs, quantities

TOPOLOGY = flags.DEFINE_string(
  "topology",
  "v5p:4x4x4",
  "Chip and grid, as v5p:4x4x4, v5e:4x4, v6e:2x2, v4:2x2x1, or GPUs, as h100:8, a100:8, h200:64.",
)
PRESET = flags.DEFINE_string("preset", "", "Named model; the same as --config=configs/preset.py:NAME.")
PRECISION = flags.DEFINE_enum("precision", "mixed", ("mixed", "float32"), "Of compute; mixed is bfloat16.")
UTILIZATION = quantities.DEFINE_float(
  "utilization", 0.4, "Share of the chips' peak rate that the time is told for.", lower_bound=0, upper_bound=1
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
  run = _prepared(run, topology.chips)
  validation.check_run(run)
  devices = topologies.topology_devices(topology)
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  found = _compiled(run, topology, devices)
  if target is not None:
    json_report.write_report(found, target)
  if target != json_report.STANDARD_OUTPUT:
    print("\n".join(_lines(found)))
  return 0 if found["fits"] else UNFIT


def _prepared(run: Run, chips: int) -> Run:
  """Returns the run as large models are compiled: layers in a loop, narrow products, a mesh over all chips."""
  dtype = "bfloat16" if PRECISION.value == "mixed" else "float32"
  context = max(run.model.context, run.data.length) if run.model.context else 0
  model = dataclasses.replace(
    run.model,
    scan=not run.model.recurrent,
    dtype=dtype,
    vocab=run.model.vocab or run.data.vocab,
    context=context,
  )
  return dataclasses.replace(run, model=model, steps_per_dispatch=1, mesh=run.mesh or f"fsdp={chips}")


def _compiled(run: Run, topology: Any, devices: list[Any]) -> dict[str, Any]:
  """Returns what the compiler says of the step, and what follows from it."""
  from gen.costs import collectives, memory
  from gen.sharding import layouts
  from gen.training import loop

  layout = layouts.layout_of_run(run, devices)
  parameters = counts.count_parameters(run.model).total
  print(f"compiling {run.name}, {parameters:,} parameters, for {topology.name}", file=sys.stderr)
  begun = time.monotonic()
  sizes, text = memory.compile_step(run, layout)
  flops = loop.flops_per_step(run) * run.data.batch
  rate = topology.chip.flops_per_second * topology.chips
  moved = collectives.by_kind(collectives.collectives_of_program(text))
  return {
    "run": run.name,
    "parameters": parameters,
    "topology": topology.name,
    "chips": topology.chips,
    "mesh": run.mesh,
    "layout": run.layout,
    "batch": run.data.batch,
    "length": run.data.length,
    "precision": PRECISION.value,
    "remat": run.model.remat,
    "argument_bytes_per_device": sizes.arguments,
    "temporary_bytes_per_device": sizes.temporaries,
    "peak_bytes_per_device": sizes.peak,
    "memory_bytes_per_device": topology.chip.memory,
    "fits": sizes.peak <= topology.chip.memory,
    "state_bytes_over_devices": memory.run_footprint(run).state,
    "collective_bytes_per_device": moved,
    "collective_bytes_are_complete": collectives.loops_are_known(text),
    "flops_per_step": flops,
    "utilization": UTILIZATION.value,
    "step_seconds": flops / rate / UTILIZATION.value,
    "tokens_per_second": run.data.batch * loop.row_length(run).tokens * rate * UTILIZATION.value / flops,
    "compile_seconds": time.monotonic() - begun,
  }


def _lines(found: Mapping[str, Any]) -> list[str]:
  """Returns the report."""
  size = {
    name: found[f"{name}_bytes_per_device"] / 2**30 for name in ("argument", "temporary", "peak", "memory")
  }
  sent = ", ".join(
    f"{kind} {moved / 2**30:.2f}" for kind, moved in found["collective_bytes_per_device"].items()
  )
  if not found["collective_bytes_are_complete"]:
    sent += " at least: a loop whose length the program does not state, as of layers, counts once"
  over = size["peak"] - size["memory"]
  verdict = "fits" if found["fits"] else (
    f"does not fit: {over:.1f} GiB too much; split more (--config.mesh, --config.layout=zero3), recompute"
    " (--config.model.remat=full), or take fewer rows at a time (--config.optimizer.microbatches)"
  )  # fmt: skip
  return [
    f"{found['run']}, {found['parameters']:,} parameters, on {found['chips']} chips ({found['topology']}), mesh "
    f"{found['mesh']}, {found['layout']}, batch {found['batch']} x {found['length']}, {found['precision']}, remat "
    f"{found['remat']}; GiB per chip",
    f"  arguments (state and batch){size['argument']:10.2f}",
    f"  temporaries                {size['temporary']:10.2f}",
    f"  peak                       {size['peak']:10.2f}   of {size['memory']:.0f}: {verdict}",
    f"  sent in a step: {sent or 'nothing'}",
    f"{found['flops_per_step']:.3g} FLOPs a step, counted; at a utilization of {found['utilization']:g} "
    f"{found['step_seconds']:.3g} s, {found['tokens_per_second']:,.0f} tokens/s",
    f"compiled in {found['compile_seconds']:.0f} s",
  ]


def with_config(words: list[str]) -> list[str]:
  """Returns the command line with the config that --preset is short for, before what overrides its fields.

  Its rows are as long as its context, if it has one.

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
        return [config, *words]  # whose file says what is wrong
  return words


if __name__ == "__main__":
  sys.argv[1:] = with_config(sys.argv[1:])
  launch.run_experiment(main, Run, "configs/preset.py:gpt2", trains=False)
