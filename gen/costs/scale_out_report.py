"""Layouts of a large model by the paper model of `gen.costs.scale_out`, as rows of a report and as a table."""

from collections.abc import Sequence
from typing import Any

from gen.costs import scale_out
from gen.errors import UserError

MAX_POWER = 17  # 2^17 = 131,072 devices


def ranked_rows(
  job: scale_out.TrainingJob, cluster: scale_out.PaperCluster, devices: int, count: int
) -> list[dict[str, Any]]:
  """Returns the fastest layouts of so many devices.

  Raises:
    UserError: if no layout fits.
  """
  scale_out.fastest_layout(job, cluster, devices)  # raises the sentence that says why none fits
  ranked = sorted(scale_out.fitting_layouts(job, cluster, devices), key=lambda cost: cost.seconds)
  return [layout_row(cost, devices) for cost in ranked[:count]]


def best_by_devices(job: scale_out.TrainingJob, cluster: scale_out.PaperCluster) -> list[dict[str, Any]]:
  """Returns the fastest layout of 1, 2, 4, ... 2^17 devices; numbers of devices that fit no layout are left out."""
  rows = []
  for devices in (2**power for power in range(MAX_POWER + 1)):
    try:
      rows.append(layout_row(scale_out.fastest_layout(job, cluster, devices), devices))
    except UserError:
      continue
  return rows


def layout_row(cost: scale_out.StepCost, devices: int) -> dict[str, Any]:
  """Returns the row of a layout: devices, mesh, bytes, seconds, and efficiency as a share of the stated utilization."""
  numbers = cost._asdict() | {"memory": cost.memory, "efficiency": scale_out.useful_share(cost)}
  return {"devices": devices, "mesh": cost.mesh} | numbers


def table_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
  """Returns the rows as a table; sizes in GB, times in seconds per step."""
  head = f"{'devices':>8}  {'mesh':<32} {'parts':>5} {'GB state':>9} {'GB total':>9} {'s/step':>9} {'efficiency':>10}"
  return [head] + [
    f"{row['devices']:>8,}  {row['mesh']:<32} {row['microbatches']:>5} {row['state'] / 1e9:>9.2f}"
    f" {row['memory'] / 1e9:>9.2f} {row['seconds']:>9.3g} {row['efficiency']:>10.2f}"
    for row in rows
  ]
