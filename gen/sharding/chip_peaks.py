"""Peak rates of chips, by name and by the name that jax reports: for budgets, and for MFU, a step's share of the peak.

MFU is model FLOPs utilization (arXiv:2204.02311, appendix B): FLOPs that the model needs, without recomputation, over
seconds and the peak. Peaks are dense rates of the makers' data sheets. A float32 product on an NVIDIA GPU of Ampere or
later is a TF32 product by jax's default, and on a TPU a bfloat16 product, so float32 has the peaks of these.
"""

from typing import NamedTuple, cast


class ChipPeaks(NamedTuple):
  """Peak rates of one chip in FLOP/s; None where the chip lacks the dtype, or its rate is not known.

  Attributes:
    bfloat16: of products of bfloat16.
    float16: of products of float16.
    float32: of products of float32 at jax's default precision.
  """

  bfloat16: float | None
  float16: float | None
  float32: float | None


def _gpu(half: float, single: float | None) -> ChipPeaks:
  return ChipPeaks(half, half, single)


def _tpu(rate: float) -> ChipPeaks:
  return ChipPeaks(rate, None, rate)


# Dense rates: from Ampere on, NVIDIA's sheets also state twice as much, with structured sparsity. The tensor cores of
# V100 and T4 multiply float16 and not bfloat16; float32 products run on their CUDA cores.
CHIPS: dict[str, ChipPeaks] = {  # of whole chips, by the names in which budgets are written
  "v100": ChipPeaks(None, 125e12, 15.7e12),
  "t4": ChipPeaks(None, 65e12, 8.1e12),
  "a10": _gpu(125e12, 62.5e12),
  "a100": _gpu(312e12, 156e12),
  "h100": _gpu(989e12, 494.7e12),
  "h100-pcie": _gpu(756e12, 378e12),
  "h100-nvl": _gpu(835e12, 417.5e12),
  "h200": _gpu(989e12, 494.7e12),
  "b200": _gpu(2250e12, 1100e12),
  "l4": _gpu(121e12, 60e12),
  "l40s": _gpu(362e12, 183e12),
  "mi250x": _gpu(383e12, None),
  "mi300x": _gpu(1307e12, None),
  # cloud.google.com/tpu/docs, system architecture: bfloat16 of whole chips.
  "tpu-v2": _tpu(45e12),
  "tpu-v3": _tpu(123e12),
  "tpu-v4": _tpu(275e12),
  "tpu-v5e": _tpu(197e12),
  "tpu-v5p": _tpu(459e12),
  "tpu-v6e": _tpu(918e12),
}
KINDS: dict[str, str] = {  # the name that jax reports -> the chip
  "Tesla V100-SXM2-16GB": "v100",
  "Tesla V100-SXM2-32GB": "v100",
  "Tesla V100-SXM3-32GB": "v100",
  "Tesla T4": "t4",
  "NVIDIA A10": "a10",
  "NVIDIA A100-SXM4-40GB": "a100",
  "NVIDIA A100-SXM4-80GB": "a100",
  "NVIDIA A100-PCIE-40GB": "a100",
  "NVIDIA A100 80GB PCIe": "a100",
  "NVIDIA H100 80GB HBM3": "h100",
  "NVIDIA H100 PCIe": "h100-pcie",
  "NVIDIA H100 NVL": "h100-nvl",
  "NVIDIA H200": "h200",
  "NVIDIA GH200 480GB": "h200",  # the same multiprocessors
  "NVIDIA B200": "b200",
  "NVIDIA L4": "l4",
  "NVIDIA L40S": "l40s",
  "TPU v2": "tpu-v2",
  "TPU v3": "tpu-v3",
  "TPU v4": "tpu-v4",
  "TPU v5 lite": "tpu-v5e",
  "TPU v5e": "tpu-v5e",
  "TPU v5": "tpu-v5p",
  "TPU v5p": "tpu-v5p",
  "TPU v6 lite": "tpu-v6e",
  "TPU v6e": "tpu-v6e",
}
_CORES = {"TPU v2": 2, "TPU v3": 2}  # jax counts cores of these, of which a chip has two


def lacks_bfloat16(device_kind: str) -> bool:
  """Returns whether a device is known to have no products of bfloat16, as V100 and T4."""
  return device_kind in KINDS and CHIPS[KINDS[device_kind]].bfloat16 is None


def chip_peak(name: str) -> float:
  """Returns the peak of a whole chip in FLOP/s, of bfloat16 or of float16 where it lacks that.

  >>> chip_peak("a100"), chip_peak("v100")
  (312000000000000.0, 125000000000000.0)
  """
  peaks = CHIPS[name]
  return cast(float, peaks.bfloat16 or peaks.float16)


def peak_rate(device_kind: str, dtype: str) -> float | None:
  """Returns the peak of one device in FLOP/s, or None for a CPU, an unknown chip, a part of one, or a dtype it lacks.

  Args:
    device_kind: as `jax.Device.device_kind` has it. A part of a GPU (MIG) has a longer name, and no peak here.
    dtype: of products: bfloat16 | float16 | float32.

  >>> peak_rate("NVIDIA H100 80GB HBM3", "bfloat16"), peak_rate("cpu", "float32")
  (989000000000000.0, None)
  """
  if device_kind not in KINDS:
    return None
  peak: float | None = getattr(CHIPS[KINDS[device_kind]], dtype, None)
  return None if peak is None else peak / _CORES.get(device_kind, 1)


def share_of_peak(flops_per_second: float, dtype: str, devices: int = 1) -> float | None:
  """Returns the share of this machine's peak that a rate is, or None where the peak is not known.

  Args:
    flops_per_second: of all devices together.
    dtype: of products.
    devices: number of devices that reach the rate.
  """
  import jax  # a plan reads the table above, and needs no jax

  peak = peak_rate(jax.devices()[0].device_kind, dtype)
  return None if peak is None else flops_per_second / (peak * devices)
