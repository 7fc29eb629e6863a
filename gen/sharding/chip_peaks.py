"""Peak rates of chips by the name that jax reports, for MFU: the share of the peak that a step's FLOPs reach.

MFU is model FLOPs utilization (arXiv:2204.02311, appendix B): FLOPs that the model needs, without recomputation, over
seconds and the peak. Peaks are dense rates of the makers' data sheets. A float32 product on an NVIDIA GPU of Ampere or
later is a TF32 product by jax's default, and on a TPU a bfloat16 product, so float32 has the peaks of these.
"""

from typing import NamedTuple

import jax


class ChipPeaks(NamedTuple):
  """Peak rates of one device as jax counts devices, in FLOP/s; None where the chip lacks the dtype.

  Attributes:
    bfloat16: of products of bfloat16.
    float16: of products of float16.
    float32: of products of float32 at jax's default precision.
  """

  bfloat16: float | None
  float16: float | None
  float32: float | None


def _gpu(half: float, single: float) -> ChipPeaks:
  return ChipPeaks(half, half, single)


def _tpu(rate: float) -> ChipPeaks:
  return ChipPeaks(rate, None, rate)


_V100, _A100 = ChipPeaks(None, 125e12, 15.7e12), _gpu(312e12, 156e12)
_H100 = _gpu(989e12, 494.7e12)  # H200 and GH200 have the same multiprocessors
_V5E, _V5P, _V6E = _tpu(197e12), _tpu(459e12), _tpu(918e12)
PEAKS: dict[str, ChipPeaks] = {
  "Tesla V100-SXM2-16GB": _V100,
  "Tesla V100-SXM2-32GB": _V100,
  "Tesla V100-SXM3-32GB": _V100,
  "Tesla T4": ChipPeaks(None, 65e12, 8.1e12),
  "NVIDIA A10": _gpu(125e12, 62.5e12),
  "NVIDIA A100-SXM4-40GB": _A100,
  "NVIDIA A100-SXM4-80GB": _A100,
  "NVIDIA A100-PCIE-40GB": _A100,
  "NVIDIA A100 80GB PCIe": _A100,
  "NVIDIA H100 80GB HBM3": _H100,
  "NVIDIA H100 PCIe": _gpu(756e12, 378e12),
  "NVIDIA H100 NVL": _gpu(835e12, 417.5e12),
  "NVIDIA H200": _H100,
  "NVIDIA GH200 480GB": _H100,
  "NVIDIA B200": _gpu(2250e12, 1100e12),
  "NVIDIA L4": _gpu(121e12, 60e12),
  "NVIDIA L40S": _gpu(362e12, 183e12),
  "TPU v2": _tpu(22.5e12),  # of v2 and v3 jax counts cores, of which a chip has two
  "TPU v3": _tpu(61.5e12),
  "TPU v4": _tpu(275e12),
  "TPU v5 lite": _V5E,
  "TPU v5e": _V5E,
  "TPU v5": _V5P,
  "TPU v5p": _V5P,
  "TPU v6 lite": _V6E,
  "TPU v6e": _V6E,
}


def peak_rate(device_kind: str, dtype: str) -> float | None:
  """Returns the peak of one device in FLOP/s, or None for a CPU, an unknown chip, a part of one, or a dtype it lacks.

  Args:
    device_kind: as `jax.Device.device_kind` has it. A part of a GPU (MIG) has a longer name, and no peak here.
    dtype: of products: bfloat16 | float16 | float32.

  >>> peak_rate("NVIDIA H100 80GB HBM3", "bfloat16"), peak_rate("cpu", "float32")
  (989000000000000.0, None)
  """
  peaks = PEAKS.get(device_kind)
  return None if peaks is None else getattr(peaks, dtype, None)


def share_of_peak(flops_per_second: float, dtype: str, devices: int = 1) -> float | None:
  """Returns the share of this machine's peak that a rate is, or None where the peak is not known.

  Args:
    flops_per_second: of all devices together.
    dtype: of products.
    devices: number of devices that reach the rate.
  """
  peak = peak_rate(jax.devices()[0].device_kind, dtype)
  return None if peak is None else flops_per_second / (peak * devices)
