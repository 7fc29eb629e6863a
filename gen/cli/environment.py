"""The process environment: allocator, simulated devices, threads, and the cache of compiled programs.

XLA allocates its temporaries anew in each call, and page faults of 4 KiB are a third of a small model's step. So an
experiment sets GLIBC_TUNABLES (huge pages, no trim, one arena) and re-executes Python once, because glibc reads the
variable before `main`. Elsewhere (macOS, musl, GPU, TPU) it changes nothing. Importers set the variable themselves.
"""

import importlib.util
import logging
import os
import platform
import re
import sys

ALLOCATOR = (
  "glibc.malloc.hugetlb=1",  # huge pages
  "glibc.malloc.mmap_max=0",  # large blocks come from the heap; a mapping would be returned to the system when freed
  "glibc.malloc.trim_threshold=68719476736",  # 64 GiB, more than any heap: free memory is never returned
  "glibc.malloc.arena_max=1",  # one heap: those of other threads are limited to 64 MiB, too little for temporaries
)
THREADS_PER_DEVICE = (
  8  # of a simulated device; with fewer, waiting devices can occupy them all (docs/scaling_up.md)
)


def give_simulated_devices_threads() -> None:
  """Gives XLA enough threads if devices are simulated; call it before jax initializes its devices.

  XLA's thread pool has one thread per core or per device, whichever is more. A device that waits in a collective
  blocks a thread. With several collectives in flight, no thread is left for the devices that have yet to join.
  """
  simulated = re.search(r"xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
  if simulated:
    os.environ.setdefault("NPROC", str(THREADS_PER_DEVICE * int(simulated[1])))


def quiet_gpu_compiler() -> None:
  """Keeps jax from warning of CUDA where only its compiler is installed (the extra `absent-gpus`)."""
  if not importlib.util.find_spec("jax_plugins"):
    return
  if importlib.util.find_spec("jax_plugins.xla_cuda12") and not importlib.util.find_spec("jax_cuda12_plugin"):
    logging.getLogger("jax_plugins.xla_cuda12").setLevel(logging.ERROR)
    logging.getLogger("jax._src.xla_bridge").addFilter(lambda record: "xla_cuda12" not in record.getMessage())


def restart_with_allocator() -> None:
  """Re-executes this process with the allocator's settings, if glibc supports them and none are set."""
  tunables = os.environ.get("GLIBC_TUNABLES", "")
  if platform.libc_ver()[0] != "glibc" or with_allocator(tunables) == tunables:
    return
  environment = os.environ | {"GLIBC_TUNABLES": with_allocator(tunables)}
  sys.stdout.flush()
  os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def with_allocator(tunables: str) -> str:
  """Returns the tunables with those of `ALLOCATOR`; a user's setting of huge pages overrides all."""
  if "glibc.malloc.hugetlb" in tunables:
    return tunables
  return ":".join(
    [*filter(None, [tunables]), *(setting for setting in ALLOCATOR if setting.split("=")[0] not in tunables)]
  )


def worker_environment(cores: int = 1) -> dict[str, str]:
  """Returns the environment of a worker process with the given number of cores."""
  environment = dict(os.environ)
  environment["GLIBC_TUNABLES"] = with_allocator(environment.get("GLIBC_TUNABLES", ""))
  for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    environment[name] = str(cores)
  environment["PYTHONUNBUFFERED"] = "1"
  return environment


def compilation_cache(folder: str | os.PathLike[str]) -> None:
  """Keeps compiled programs in a folder, each under a checksum, so that the next process need not compile them."""
  from gen.io import compiled_programs

  compiled_programs.keep_programs_in(folder)
