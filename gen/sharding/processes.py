"""One run in several processes: their ranks, common decisions, and common end.

A program is started once on each machine, or once for each GPU. It reads its rank from flags or from the variables of
the launcher, connects to the other processes (`gen.sharding.rendezvous`), and initializes jax with the devices of all.
A run of one process does none of this.
"""

import contextlib
import ctypes
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from gen.errors import UserError
from gen.sharding.rendezvous import Meeting, ProcessPlace

LOST = 75  # exit code of a process that ends because another one did: EX_TEMPFAIL of sysexits.h, "try again"
WAIT_SECONDS = 120.0  # for all processes to connect
# When a process dies, the collectives of the others raise errors. They wait so long for the watch thread to report the
# death, which is the reason worth printing. It took 0.3 to 0.5 s after a SIGKILL (docs/notes/scaling_up_checks.md).
REASON_SECONDS = 3.0
SAME_SECONDS = 1.0  # within which all processes find the same mistake, such as a bad config
HEARTBEAT_SECONDS = 10  # jax's own detection of lost processes, for what ours does not see
PORTS = (
  61440  # first of the 4,096 ports among which the number of a job chooses, above the usual ephemeral range
)

T = TypeVar("T")
_meeting: Meeting | None = None


class Shared(UserError):
  """A mistake that process 0 found and sent to all processes: process 0 reports it, and the others end silently."""


def find_place(
  address: str = "", count: int = 0, index: int = -1, environment: Mapping[str, str] = os.environ
) -> ProcessPlace | None:
  """Returns the address, number of processes and index of this process, or None for a single process.

  Flags override jax's variables (JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or JOB_COMPLETION_INDEX
  in an indexed job of Kubernetes). These override the variables of a SLURM step, and these those of Open MPI.

  Args:
    address: HOST:PORT of process 0; "" if not set.
    count: number of processes of the run; 0 if not set.
    index: of this process; -1 if not set.
    environment: the process's variables.

  Raises:
    UserError: if only a part of the place is set, or it is invalid.
  """
  variables: dict[str, str | int] = {
    "coordinator": environment.get("JAX_COORDINATOR_ADDRESS", ""),
    "processes": _number(environment, "JAX_NUM_PROCESSES", 0),
    "process": _number(environment, "JAX_PROCESS_ID", _number(environment, "JOB_COMPLETION_INDEX", -1)),
  }
  absent: dict[str, str | int] = {"coordinator": "", "processes": 0, "process": -1}
  settings: dict[str, str | int] = dict(absent)
  launcher = _slurm(environment) or _open_mpi(environment) or {}
  stated: dict[str, str | int] = {"coordinator": address, "processes": count, "process": index}
  for source in (launcher, variables, stated):
    settings |= {name: value for name, value in source.items() if value != absent[name]}
  # A process index alone, from a variable, is no request: JOB_COMPLETION_INDEX is set in any indexed job.
  requested = settings["coordinator"] or settings["processes"] or index >= 0
  if not requested or settings["processes"] == 1:
    return None
  return _checked(str(settings["coordinator"]), int(settings["processes"]), int(settings["process"]))


def _checked(coordinator: str, processes: int, process: int) -> ProcessPlace:
  missing = [
    flag
    for flag, absent in (
      ("--coordinator=HOST:PORT", not coordinator),
      ("--processes=COUNT", processes < 1),
      ("--process=INDEX", process < 0),
    )
    if absent
  ]
  if missing:
    raise UserError(f"a run of several processes also needs {' and '.join(missing)}")
  port = coordinator.rpartition(":")[2]
  if ":" not in coordinator or not port.isdecimal() or not 0 < int(port) < 65536:
    raise UserError(f"--coordinator={coordinator}: write HOST:PORT, as in --coordinator=10.0.0.1:8476")
  if process >= processes:
    raise UserError(f"--process={process}: processes are numbered from 0 to {processes - 1}")
  return ProcessPlace(coordinator, processes, process)


def _number(environment: Mapping[str, str], name: str, otherwise: int) -> int:
  text = environment.get(name, "")
  if not text:
    return otherwise
  if not text.isdecimal():
    raise UserError(f"the variable {name} is {text!r}; it must be a whole number")
  return int(text)


def _slurm(environment: Mapping[str, str]) -> dict[str, str | int] | None:
  """Returns the place from the variables of a SLURM step (srun); None in a batch script or on one task."""
  count = _number(environment, "SLURM_STEP_NUM_TASKS", 0)
  if count < 2 or "SLURM_STEP_NODELIST" not in environment:
    return None
  # Derived from the job, so that all tasks choose the same port, and jobs on one machine rarely do.
  port = PORTS + _number(environment, "SLURM_JOB_ID", 0) % 4096
  return {
    "coordinator": f"{first_host(environment['SLURM_STEP_NODELIST'])}:{port}",
    "processes": count,
    "process": _number(environment, "SLURM_PROCID", -1),
  }


def first_host(nodes: str) -> str:
  """Returns the first machine of a SLURM list.

  >>> first_host("tux[007-010,12],other3"), first_host("alone"), first_host("a1,a2")
  ('tux007', 'alone', 'a1')
  """
  head = re.match(r"([^,\[]*)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
  return "".join(part or "" for part in head.groups()) if head else nodes


def _open_mpi(environment: Mapping[str, str]) -> dict[str, str | int] | None:
  """Returns the place from the variables of mpirun, without a coordinator over several machines: it names none."""
  count = _number(environment, "OMPI_COMM_WORLD_SIZE", 0)
  if count < 2:
    return None
  place: dict[str, str | int] = {
    "processes": count,
    "process": _number(environment, "OMPI_COMM_WORLD_RANK", -1),
  }
  if _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE", 0) == count:
    job = re.sub(r"\D", "", environment.get("OMPI_MCA_ess_base_jobid", environment.get("PMIX_NAMESPACE", "")))
    place["coordinator"] = f"127.0.0.1:{PORTS + int(job or 0) % 4096}"
  return place


def process_count() -> int:
  """Returns the number of processes of the run."""
  return 1 if _meeting is None else _meeting.place.processes


def is_first() -> bool:
  """Returns whether this process is the one that writes."""
  return _meeting is None or _meeting.place.process == 0


def exchange_values(value: Any) -> list[Any]:
  """Returns the value of each process, by index; all processes must call it, in the same order.

  Args:
    value: anything that JSON can hold.
  """
  return [value] if _meeting is None else _meeting.exchange(value)


def from_first(function: Callable[[], T]) -> T:
  """Calls the function in process 0 only, and returns its result in all processes.

  Args:
    function: returns anything that JSON can hold.

  Raises:
    UserError: in all processes, if the function raises it.
  """
  if _meeting is None:
    return function()
  if not is_first():
    answer = _meeting.exchange(None)[0]
    if "error" in answer:
      raise Shared(answer["error"])
    return answer["value"]
  try:
    value = function()
  except UserError as error:
    _meeting.exchange({"error": str(error)})
    raise Shared(str(error)) from error
  return _meeting.exchange({"value": value})[0]["value"]


@contextlib.contextmanager
def joined_processes(place: ProcessPlace | None, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
  """Runs the block as one of several processes, with the devices of all; if one process ends, all end.

  It must be entered before jax has any device. In a run of several processes, output of native libraries is redirected
  to a file, and only printed if nothing else explains the end of the process.

  Args:
    place: of this process; None for a run of one process.
    wait_seconds: for the other processes to connect.

  Raises:
    UserError: if they do not.
  """
  if place is None:
    yield
    return
  global _meeting
  ending = _Ending(place)
  meeting = Meeting(place, ending.because)
  meeting.gather(wait_seconds)
  ending.redirect_native_output()
  _meeting = meeting
  try:
    _initialize(place, meeting, wait_seconds)
    yield
    # No process shuts jax down before all are done.
    meeting.exchange("done")
  except (UserError, KeyboardInterrupt) as error:
    sentence = str(error) if isinstance(error, UserError) else "interrupted"
    meeting.leave("" if isinstance(error, Shared) else sentence)
    ending.at_once(error)
  except Exception as error:  # of a collective whose other side is gone, or a fault of this process
    time.sleep(REASON_SECONDS)  # if another process was lost, the watch reports it now, and ends this one
    meeting.leave(f"{type(error).__name__}: {(str(error) or '-').splitlines()[0]}")
    traceback.print_exc()
    os._exit(1)  # jax's handlers of an orderly exit would wait for the other processes
  else:
    import jax

    jax.distributed.shutdown()
    meeting.leave()
  finally:
    _meeting = None


def _initialize(place: ProcessPlace, meeting: Meeting, wait_seconds: float) -> None:
  """Initializes jax with the devices of all processes; process 0 chooses jax's port."""
  import jax

  # A free port of process 0's machine: the coordinator's own port is taken by the meeting.
  with socket.socket() as probe:
    probe.bind(("", 0))
    port = meeting.exchange(probe.getsockname()[1])[0]
  jax.distributed.initialize(
    f"{place.host}:{port}",
    place.processes,
    place.process,
    initialization_timeout=int(wait_seconds),
    heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
  )
  jax.devices()


class _Ending:
  """Ends a process of a run of several processes, with exactly one line of output."""

  def __init__(self, place: ProcessPlace) -> None:
    self._place, self._printing, self._own_mistake = place, threading.Lock(), ""
    self._native: Any = None
    self._handler: Any = None

  def because(self, reason: str, sentence: str) -> None:
    """Prints why the run ended in another process, and ends this one."""
    if sentence and sentence != self._own_mistake:
      time.sleep(
        SAME_SECONDS
      )  # this process may be about to find the same mistake, and then reports it as its own
    if self._own_mistake:
      if sentence == self._own_mistake and self._place.process != 0:
        os._exit(2)  # process 0 has printed it
      return  # the main thread prints the mistake of this process
    self._print(
      f"error: {reason}; process {self._place.process} ends too; run the same command again to continue from the last "
      "checkpoint"
    )
    os._exit(LOST)

  def at_once(self, error: BaseException) -> None:
    """Prints the mistake and ends this process without waiting for the others."""
    if isinstance(error, KeyboardInterrupt):
      self._print("interrupted")
      os._exit(130)
    self._own_mistake = str(error)
    if self._place.process != 0:
      time.sleep(2 * SAME_SECONDS)  # process 0 prints a mistake that all have found
    if not isinstance(error, Shared) or self._place.process == 0:
      self._print(f"error: {error}")
    sys.stdout.flush()
    if self._place.process == 0:
      # TCP discards the last message if a connection is closed with unread data, so the others get time to read it.
      time.sleep(2 * SAME_SECONDS)
    os._exit(2)

  def _print(self, line: str) -> None:
    if self._printing.acquire(blocking=False):
      sys.stderr.write(line + "\n")
      sys.stderr.flush()
    else:
      time.sleep(60)  # another thread is printing, and ends the process

  def redirect_native_output(self) -> None:
    """Redirects file descriptors 1 and 2 to a temporary file, and handles an abort of native code.

    `sys.stdout` and `sys.stderr` keep their targets.
    """
    # jax's client aborts the process with a page of text when its coordinator is gone. The watch reports that in one
    # line, but is not always first. Gloo's collectives print a greeting to standard output, where results belong.
    self._native = tempfile.TemporaryFile()  # noqa: SIM115
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
      getattr(sys, name).flush()
      terminal = os.dup(descriptor)
      os.dup2(self._native.fileno(), descriptor)
      setattr(sys, name, os.fdopen(terminal, "w", buffering=1, encoding="utf-8", errors="backslashreplace"))
    # Installed through C: Python runs its own signal handlers in the main thread only, and the abort is in another.
    self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)
    ctypes.CDLL(None).signal(signal.SIGABRT, self._handler)

  def _aborted(self, number: int) -> None:
    """Runs in the native thread that aborts: waits for the watch, and otherwise prints the redirected output."""
    time.sleep(REASON_SECONDS)
    self._native.seek(0)
    text = self._native.read().decode(errors="replace")
    self._print(f"error: a native library ended process {self._place.process}:\n{text[-4000:]}")
    os._exit(128 + number)
