"""Layouts of a large model by the paper model of `gen.costs.scale_out`, as rows of a report and as a table."""

import dataclasses
from collections.abc import Sequence

from gen.costs import scale_out
from gen.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayoutRow:
  """A layout of a report; bytes and seconds as in `scale_out.StepCost`.

  Attributes:
    devices: number of devices.
    mesh: as in `--config.mesh`.
    data: number of replicas.
    fsdp: parts of the state.
    tensor: parts of each matrix.
    microbatches: sequential microbatches per step.
    state: bytes of state per device.
    activations: bytes of activations per device.
    compute: seconds of products.
    recompute: seconds of recomputed products.
    tensor_seconds: seconds of tensor traffic.
    traffic_seconds: seconds of fsdp and data traffic.
    seconds: seconds of the step.
    memory: bytes per device.
    efficiency: share of the stated utilization.
  """

  devices: int
  mesh: str
  data: int
  fsdp: int
  tensor: int
  microbatches: int
  state: float
  activations: float
  compute: float
  recompute: float
  tensor_seconds: float
  traffic_seconds: float
  seconds: float
  memory: float
  efficiency: float


MAX_POWER = 17  # 2^17 = 131,072 devices


def ranked_rows(
  job: scale_out.TrainingJob, cluster: scale_out.PaperCluster, devices: int, count: int
) -> list[LayoutRow]:
  """Returns the fastest layouts of so many devices.

  Raises:
    UserError: if no layout fits.
  """
  scale_out.fastest_layout(job, cluster, devices)  # raises the sentence that says why none fits
  ranked = sorted(scale_out.fitting_layouts(job, cluster, devices), key=lambda cost: cost.seconds)
  return [layout_row(cost, devices) for cost in ranked[:count]]


def best_by_devices(job: scale_out.TrainingJob, cluster: scale_out.PaperCluster) -> list[LayoutRow]:
  """Returns the fastest layout of 1, 2, 4, ... 2^17 devices; numbers of devices that fit no layout are left out."""
  rows = []
  for devices in (2**power for power in range(MAX_POWER + 1)):
    try:
      rows.append(layout_row(scale_out.fastest_layout(job, cluster, devices), devices))
    except UserError:
      continue
  return rows


def layout_row(cost: scale_out.StepCost, devices: int) -> LayoutRow:
  """Returns the row of a layout."""
  return LayoutRow(
    devices=devices,
    mesh=cost.mesh,
    **cost._asdict(),
    memory=cost.memory,
    efficiency=scale_out.useful_share(cost),
  )


def table_lines(rows: Sequence[LayoutRow]) -> list[str]:
  """Returns the rows as a table; sizes in GB, times in seconds per step."""
  head = f"{'devices':>8}  {'mesh':<32} {'parts':>5} {'GB state':>9} {'GB total':>9} {'s/step':>9} {'efficiency':>10}"
  return [head] + [
    f"{row.devices:>8,}  {row.mesh:<32} {row.microbatches:>5} {row.state / 1e9:>9.2f}"
    f" {row.memory / 1e9:>9.2f} {row.seconds:>9.3g} {row.efficiency:>10.2f}"
    for row in rows
  ]
