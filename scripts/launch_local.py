"""Starts an experiment as several processes of one run on this machine, each with simulated or real devices of its own.

  uv run scripts/launch_local.py --processes=2 --devices_per_process=4 experiments/pretrain.py \
    --config=configs/decoder.py --config.mesh=data=8

Everything after the program is the program's. Ctrl-C and SIGTERM reach all processes, which save and stop; when one
ends early the others end too. The exit code is that of the process that ended first with one that is not 0.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gen.cli import launch, signals
from gen.errors import UserError
from gen.io import quantities
from gen.sharding.processes import LOST

PROCESSES = quantities.DEFINE_integer(
  "processes", 2, "Number of processes.", lower_bound=0, upper_bound=1_000_000
)
DEVICES = quantities.DEFINE_integer(
  "devices_per_process",
  0,
  "CPU devices that each process simulates; 0: the devices that jax finds, shared by all processes.",
)
GRACE_SECONDS = 15.0  # for the others, when one has ended
SIMULATED = "--xla_force_host_platform_device_count"


def main() -> int:
  """Runs the processes and returns the exit code."""
  return Group([sys.executable, *_PROGRAM]).wait()


class Group:
  """The processes of one run."""

  def __init__(self, command: list[str]) -> None:
    """Starts them."""
    with socket.socket() as probe:
      probe.bind(("127.0.0.1", 0))
      address = f"127.0.0.1:{probe.getsockname()[1]}"
    self._processes: list[subprocess.Popen[bytes]] = []
    for number in signals.stop_signals():
      signal.signal(number, self._pass_on)
    for index in range(PROCESSES.value):
      environment = _environment(address, index)
      # Groups of their own: what a terminal sends comes through this process alone, and once.
      self._processes.append(subprocess.Popen(command, env=environment, start_new_session=True))

  def wait(self) -> int:
    """Waits until all have ended; returns the first exit code that is not 0, one of a loss last."""
    codes: dict[int, int] = {}
    deadline = None
    while len(codes) < len(self._processes):
      for index, process in enumerate(self._processes):
        if index not in codes and process.poll() is not None:
          codes[index] = process.returncode if process.returncode >= 0 else 128 - process.returncode
      if deadline is None and any(codes.values()):
        deadline = time.monotonic() + GRACE_SECONDS
      if deadline is not None and time.monotonic() > deadline:
        for process in self._processes:
          process.kill()
      time.sleep(0.05)
    bad = [code for code in codes.values() if code]
    return next((code for code in bad if code != LOST), bad[0] if bad else 0)

  def _pass_on(self, number: int, _: Any) -> None:
    for process in self._processes:
      if process.poll() is None:
        process.send_signal(number)


def _environment(address: str, index: int) -> dict[str, str]:
  environment = os.environ | {
    "JAX_COORDINATOR_ADDRESS": address,
    "JAX_NUM_PROCESSES": str(PROCESSES.value),
    "JAX_PROCESS_ID": str(index),
  }
  if DEVICES.value:
    others = re.sub(rf"{SIMULATED}=\d+", "", environment.get("XLA_FLAGS", ""))
    environment |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{others} {SIMULATED}={DEVICES.value}".strip()}
  return environment


def _split(words: list[str]) -> tuple[list[str], list[str]]:
  """Returns this script's own words, and the program with its words.

  Raises:
    UserError: if there is no program.
  """
  for number, word in enumerate(words[1:], start=1):
    if not word.startswith("-"):
      if not Path(word).is_file():
        raise UserError(f"no such program: {word}; write --processes=2 --devices_per_process=4 PROGRAM ...")
      return words[:number], words[number:]
  if launch.asks_for_help(words):
    return words, []
  raise UserError(
    "name the program to start, as in scripts/launch_local.py --processes=2 --devices_per_process=4"
    " experiments/pretrain.py --config=configs/decoder.py --config.mesh=data=8"
  )


def _checked() -> int:
  if PROCESSES.value < 1 or DEVICES.value < 0:
    raise UserError(
      f"--processes={PROCESSES.value} --devices_per_process={DEVICES.value}: give at least one process"
    )
  return main()


if __name__ == "__main__":
  try:
    sys.argv, _PROGRAM = _split(sys.argv)
  except UserError as mistake:
    print(f"error: {mistake}", file=sys.stderr)
    sys.exit(launch.USER_MISTAKE)
  launch.run_experiment(_checked, trains=False)
