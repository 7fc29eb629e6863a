"""Layouts on paper as rows and as a table."""

import pytest

from gen.costs import scale_out, scale_out_report
from gen.errors import UserError

CLUSTER = scale_out.CLUSTERS["h100"]


def test_rows_are_ranked_by_time_and_the_table_has_a_line_for_each():
  job = scale_out.TrainingJob(1e9, 1e6)
  rows = scale_out_report.ranked_rows(job, CLUSTER, 8, 3)
  assert [row.seconds for row in rows] == sorted(row.seconds for row in rows) and len(rows) == 3
  assert rows[0].mesh == scale_out.fastest_layout(job, CLUSTER, 8).mesh
  lines = scale_out_report.table_lines(rows)
  assert len(lines) == 4 and all(row.mesh in line for row, line in zip(rows, lines[1:], strict=True))


def test_numbers_of_devices_that_fit_no_layout_are_left_out():
  job = scale_out.TrainingJob(7e10, 2048 * 16)
  devices = [row.devices for row in scale_out_report.best_by_devices(job, CLUSTER)]
  assert devices and min(devices) > 8 and max(devices) <= 16 * CLUSTER.machine
  with pytest.raises(UserError, match="no layout of 8 devices holds"):
    scale_out_report.ranked_rows(job, CLUSTER, 8, 3)
