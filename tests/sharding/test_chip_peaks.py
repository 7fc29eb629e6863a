"""Peaks agree with the other tables of chips, and no number is made up where none is known."""

import pytest

from gen.costs import topologies
from gen.scaling.planning import budgets
from gen.sharding import chip_peaks

NAMES = {
  "v100": ("Tesla V100-SXM2-16GB", "float16"),
  "a100": ("NVIDIA A100-SXM4-80GB", "bfloat16"),
  "h100": ("NVIDIA H100 80GB HBM3", "bfloat16"),
  "h200": ("NVIDIA H200", "bfloat16"),
  "b200": ("NVIDIA B200", "bfloat16"),
  "l4": ("NVIDIA L4", "bfloat16"),
  "l40s": ("NVIDIA L40S", "bfloat16"),
  "tpu-v4": ("TPU v4", "bfloat16"),
  "tpu-v5e": ("TPU v5 lite", "bfloat16"),
  "tpu-v5p": ("TPU v5", "bfloat16"),
  "tpu-v6e": ("TPU v6 lite", "bfloat16"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_peak_is_that_of_plans_and_of_compiles_for_the_chip(name):
  peak = chip_peaks.peak_rate(*NAMES[name])
  assert peak == budgets.PEAKS[name]
  chip = topologies.CHIPS.get(name.removeprefix("tpu-"))
  assert chip is None or chip.flops_per_second == peak


@pytest.mark.parametrize(
  ("kind", "dtype"),
  [
    ("cpu", "float32"),
    ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16"),
    ("NVIDIA H900", "bfloat16"),
    ("Tesla V100-SXM2-16GB", "bfloat16"),
    ("TPU v4", "float16"),
  ],
)
def test_a_chip_or_dtype_without_a_known_peak_has_none(kind, dtype):
  assert chip_peaks.peak_rate(kind, dtype) is None


def test_a_core_of_an_old_tpu_has_half_of_the_peak_of_its_chip():
  assert chip_peaks.peak_rate("TPU v3", "bfloat16") == budgets.PEAKS["tpu-v3"] / 2 == 61.5e12
  assert chip_peaks.peak_rate("TPU v2", "bfloat16") == 22.5e12


def test_utilization_is_of_all_devices_and_absent_on_a_cpu(monkeypatch):
  assert chip_peaks.share_of_peak(1e9, "float32") is None
  device = type("Device", (), {"device_kind": "NVIDIA A100-SXM4-80GB"})
  monkeypatch.setattr("jax.devices", lambda: [device])
  assert chip_peaks.share_of_peak(312e12, "bfloat16", 4) == 0.25
  assert chip_peaks.share_of_peak(78e12, "float32") == 0.5
