"""On a mesh the values of a kernel and their scales are split together, and logits stay what they were."""

import json
import os
from pathlib import Path

import pytest

from tests import programs

PROGRAM = Path(__file__).with_name("four_devices.py")


@pytest.mark.process
def test_values_and_scales_are_split_together_and_logits_stay():
  flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
  done = programs.run([PROGRAM], env=os.environ | flags)
  assert done.returncode == 0, done.stderr[-3000:]
  int8, int4 = map(json.loads, done.stdout.splitlines())
  # Heads are split over two devices: 16 outputs of 2 layers become 8, and so do their scales.
  assert (int8["values"], int8["scales"]) == ([2, 8, 16], [2, 8, 1])
  assert (int4["values"], int4["scales"]) == ([2, 8, 8], [2, 8, 4])
  assert max(int8["difference"], int4["difference"]) < 1e-5
