"""Descriptions of absent GPUs for XLA's CUDA compiler, with the values that the driver would report.

Limits of a thread block and of a multiprocessor are those of the compute capability (NVIDIA's CUDA C++ Programming
Guide, "Compute Capabilities"). Multiprocessors, caches, clocks and bandwidth are of the SXM boards (NVIDIA's
white papers and data sheets of A100 80GB, H100 and H200).
"""

from typing import NamedTuple


class Gpu(NamedTuple):
  """Properties of a GPU that the compiler needs, except its memory.

  Attributes:
    name: name that the driver reports.
    capability: major compute capability; minor is 0.
    multiprocessors: of the board.
    lanes: float32 units of a multiprocessor.
    shared: bytes of shared memory of a multiprocessor; a block can use all but 1 KiB.
    cache: bytes of the L2 cache.
    bandwidth: of the memory, bytes per second.
    clock: boost clock, GHz.
  """

  name: str
  capability: int
  multiprocessors: int
  lanes: int
  shared: int
  cache: int
  bandwidth: float
  clock: float


# The A100 has capability 8.0 and 164 KiB of shared memory, H100 and H200 have 9.0 and 228 KiB; an H200 is an H100 with
# other memory.
GPUS = {
  "a100": Gpu("NVIDIA A100-SXM4-80GB", 8, 108, 64, 164 * 2**10, 40 * 2**20, 2.039e12, 1.41),
  "h100": Gpu("NVIDIA H100 80GB HBM3", 9, 132, 128, 228 * 2**10, 50 * 2**20, 3.35e12, 1.98),
  "h200": Gpu("NVIDIA H200", 9, 132, 128, 228 * 2**10, 50 * 2**20, 4.8e12, 1.98),
}


def gpu_target(gpu: Gpu, memory: int) -> str:
  """Returns the description of a GPU that XLA compiles for, a GpuTargetConfigProto as text.

  It names no cuDNN version, so XLA uses none of cuDNN's kernels.

  >>> "core_count: 132" in gpu_target(GPUS["h100"], 80 * 10**9)
  True

  Args:
    gpu: its properties.
    memory: its bytes.
  """
  # From compute capability 9.0 on, matrix products use instructions of one generation only (sm_90a).
  features = "ACCELERATED_FEATURES" if gpu.capability >= 9 else "NONE"
  # CUDA's programming guide, "Technical specifications per compute capability", has the limits.
  facts = {
    # The limits down to the registers are the same for capability 8.0 and 9.0.
    "threads_per_warp": 32,
    "threads_per_block_limit": 1024,
    "threads_per_core_limit": 2048,
    "thread_dim_limit_x": 1024,
    "thread_dim_limit_y": 1024,
    "thread_dim_limit_z": 64,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 2**16 - 1,
    "block_dim_limit_z": 2**16 - 1,
    "registers_per_block_limit": 2**16,
    "registers_per_core_limit": 2**16,
    # Without opting in, a block has 48 KiB on every GPU.
    "shared_memory_per_block": 48 * 2**10,
    # CUDA reserves 1 KiB of shared memory for each block.
    "shared_memory_per_block_optin": gpu.shared - 2**10,
    "shared_memory_per_core": gpu.shared,
    "core_count": gpu.multiprocessors,
    "fpus_per_core": gpu.lanes,
    "l2_cache_size": gpu.cache,
    "memory_bandwidth": round(gpu.bandwidth),
    "clock_rate_ghz": gpu.clock,
    "device_memory_size": memory,
  }
  lines = "\n".join(f"  {field}: {value}" for field, value in facts.items())
  return (
    f"gpu_device_info {{\n  cuda_compute_capability {{ major: {gpu.capability} feature_extension: {features} }}\n"
    f'{lines}\n}}\nplatform_name: "CUDA"\ndevice_description_str: "{gpu.name}"\n'
  )
