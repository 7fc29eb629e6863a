"""Executors that train the runs of a sweep, chosen by one flag; ledger, folder and numbers do not depend on it.

local             workers pinned to this machine's cores, one each
gpus              workers on this machine's NVIDIA GPUs, one each
slurm             one job per run, as an array, through submitit
submitit-local    the same on this machine's cores, without a cluster
"""

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from gen.errors import UserError
from gen.scaling.workers import clusters, pool

NAMES = ("local", "gpus", "slurm", "submitit-local")
VISIBLE = "CUDA_VISIBLE_DEVICES"

flags.disclaim_key_flags()  # They are the experiment's that asks for them, so that its --help shows them.


@dataclasses.dataclass(frozen=True)
class RunExecutor:
  """The choice of where runs are trained.

  Attributes:
    name: one of NAMES.
    slurm: sbatch's options, each NAME=VALUE.
  """

  name: str = "local"
  slurm: tuple[str, ...] = ()

  def check(self) -> None:
    """Checks the executor before anything is built.

    Raises:
      UserError: if this machine lacks the hardware or programs, or an option is invalid.
    """
    if self.slurm and self.name != "slurm":
      raise UserError(f"--slurm={self.slurm[0]} is an option of --executor=slurm, not of {self.name}")
    if self.name == "gpus":
      visible_gpus()
    if self.name == "slurm":
      clusters.SlurmCluster(self._options())
      clusters.require_slurm()
      if any("gpu" in option for option in self.slurm):
        _require_cuda(self.name)
    if self.name == "submitit-local":
      clusters.import_submitit(self.name)

  @property
  def on_gpus(self) -> bool:
    """Whether runs are trained on GPUs: one each of this machine, or those that sbatch's options ask for."""
    return self.name == "gpus" or any(
      "gpu" in option.partition("=")[0] or option.startswith("gres=gpu") for option in self.slurm
    )

  def max_workers(self, workers: int) -> int | None:
    """Returns the number of runs at a time for the requested number of workers (0: one per core or GPU).

    None means as many as the cluster grants.

    Raises:
      UserError: for more than there are GPUs.
    """
    if self.name == "gpus":
      count = len(visible_gpus())
      if workers > count:
        raise UserError(f"config.workers is {workers}, but there are {count} GPUs, and each run takes one")
      return workers or count
    if self.name == "slurm":
      return workers or None
    return workers or len(pool.pool_cores())

  def described(self, workers: int) -> dict[str, str | int | None]:
    """Returns the executor's entry in results.json; no number of workers means as many as the cluster granted."""
    return {"executor": self.name, "workers": self.max_workers(workers)}

  def trainer(self, workers: int, runs: int, logs: Path, command: Sequence[str]) -> pool.RunTrainer:
    """Returns the trainer of the given number of runs.

    Raises:
      UserError: if this machine lacks what the executor needs, or jobs of another executor have not ended.
    """
    from gen.scaling.workers import jobs  # With all that a sweep is; a mistake above costs no such import.

    others: list[clusters.JobCluster] = [clusters.SlurmCluster(), clusters.LocalCluster()]
    jobs.refuse_others(logs, self.name, [executor for executor in others if executor.name != self.name])
    limit = min(self.max_workers(workers) or runs, runs)
    if self.name == "slurm":
      return jobs.ClusterJobs(clusters.SlurmCluster(self._options(), workers), limit, logs, command)
    if self.name == "submitit-local":
      return jobs.ClusterJobs(clusters.LocalCluster(limit), limit, logs, command)
    return pool.WorkerPool(
      limit, logs, command, places=_places(visible_gpus()) if self.name == "gpus" else ()
    )

  def check_mesh(self, mesh: str) -> None:
    """Checks that a local worker has the devices of a mesh; those of cluster jobs cannot be counted here.

    Raises:
      UserError: if there are more or fewer devices.
    """
    if not mesh or self.name == "slurm":
      return
    from gen.sharding.mesh import require_devices

    if self.name == "gpus":
      require_devices(mesh, 1, "gpu, as each worker has one")
      return
    # In another process: a GPU that this one opened would be kept from the workers.
    count = "import jax; found = jax.devices(); print(len(found), found[0].platform)"
    output = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True)
    if output.returncode:
      last = output.stderr.strip().splitlines()[-1:] or ["no reason given"]
      raise UserError(f"mesh {mesh!r} needs devices, and jax cannot count them: {last[0]}")
    number, platform = output.stdout.split()[-2:]
    require_devices(mesh, int(number), platform)

  def _options(self) -> dict[str, str]:
    options = {}
    for option in self.slurm:
      name, equals, value = option.partition("=")
      if not (name and equals and value):
        raise UserError(f"--slurm={option}: write --slurm=NAME=VALUE, as in --slurm=partition=gpu")
      options[name] = value
    return options


LOCAL = RunExecutor()


def define_flags() -> None:
  """Defines `--executor` and `--slurm`."""
  flags.DEFINE_enum("executor", "local", NAMES, "Where the runs are trained.")
  flags.DEFINE_multi_string(
    "slurm", [], "NAME=VALUE, an option of sbatch; for --executor=slurm. May be repeated."
  )


def executor_from_flags() -> RunExecutor:
  """Returns the executor of the command line.

  Raises:
    UserError: if this machine lacks what the executor needs, or an option is invalid.
  """
  executor = RunExecutor(flags.FLAGS.executor, tuple(flags.FLAGS.slurm))
  executor.check()
  return executor


def visible_gpus() -> list[str]:
  """Returns the NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

  Raises:
    UserError: if there are none, or jax is installed without CUDA and would silently train on the CPU.
  """
  if VISIBLE in os.environ:
    names = [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    where = f"{VISIBLE} is empty"
  else:
    names, where = _listed(), "nvidia-smi lists none"
  if not names:
    raise UserError(f"--executor=gpus needs NVIDIA GPUs, and {where}; choose --executor=local")
  _require_cuda("gpus")
  return names


def _require_cuda(executor: str) -> None:
  if not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
    raise UserError(
      f"--executor={executor} with GPUs needs jax with CUDA, which is not installed; "
      "start with `uv run --extra gpu ...`"
    )


def _listed() -> list[str]:
  if shutil.which("nvidia-smi") is None:
    return []
  output = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
  lines = [line for line in output.stdout.splitlines() if line.startswith("GPU ")]
  return [str(number) for number in range(len(lines))] if output.returncode == 0 else []


def _places(devices: Sequence[str]) -> list[pool.WorkerSlot]:
  """Returns one slot per GPU with its share of the cores; a worker without its GPU fails rather than use the CPU."""
  threads = max(1, len(pool.pool_cores()) // len(devices))
  return [pool.WorkerSlot(-1, threads, {VISIBLE: device} | pool.CUDA) for device in devices]
