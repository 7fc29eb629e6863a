"""One run in several processes: their ranks, their common decisions, and their common end.

A program that is started once on each machine (or once for each GPU) finds its place in flags or in the variables of
what started it, meets the others (`gen.sharding.rendezvous`), and hands the devices of all to jax as one. Without any
of
this a process is alone, and everything here costs nothing.
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

LOST = 75  # exit code of a process that ends because another did: "try again", in sysexits.h
WAIT_SECONDS = 120.0
REASON_SECONDS = 3.0  # how long the watch may take to notice what an exception has
SAME_SECONDS = 1.0  # within which processes find the same mistake
HEARTBEAT_SECONDS = 10  # jax's own watch; ours is faster

T = TypeVar("T")
_meeting: Meeting | None = None


class Shared(UserError):
  """A mistake that process 0 found and sent to all: process 0 reports it, and the others end silently."""


def find_place(
  address: str = "", count: int = 0, index: int = -1, environment: Mapping[str, str] = os.environ
) -> ProcessPlace | None:
  """Returns the address, number of processes and index of this process, or None for a single process.

  Flags come first, then jax's variables (JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID; in an indexed job
  of Kubernetes JOB_COMPLETION_INDEX is the last), then a step of SLURM, then Open MPI.

  Args:
    address: HOST:PORT of process 0; "" is not given.
    count: processes of the run; 0 is not given.
    index: of this process; -1 is not given.
    environment: the process's variables.

  Raises:
    UserError: for a place that is given in part, or is none.
  """
  variables = {
    "coordinator": environment.get("JAX_COORDINATOR_ADDRESS", ""),
    "processes": _number(environment, "JAX_NUM_PROCESSES", 0),
    "process": _number(environment, "JAX_PROCESS_ID", _number(environment, "JOB_COMPLETION_INDEX", -1)),
  }
  absent = {"coordinator": "", "processes": 0, "process": -1}
  given: dict[str, Any] = dict(absent)
  started_by = _slurm(environment) or _open_mpi(environment) or {}
  for source in (started_by, variables, {"coordinator": address, "processes": count, "process": index}):
    given |= {name: value for name, value in source.items() if value != absent[name]}
  asked = given["coordinator"] or given["processes"] or index >= 0  # a number alone may be anything's
  if not asked or given["processes"] == 1:
    return None
  return _checked(**given)


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
    raise UserError(f"a run of several processes needs {' and '.join(missing)} too")
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


def _slurm(environment: Mapping[str, str]) -> dict[str, Any] | None:
  """Returns what a step of SLURM (srun) says of itself; a batch script is none."""
  count = _number(environment, "SLURM_STEP_NUM_TASKS", 0)
  if count < 2 or "SLURM_STEP_NODELIST" not in environment:
    return None
  port = 61440 + _number(environment, "SLURM_JOB_ID", 0) % 4096
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


def _open_mpi(environment: Mapping[str, str]) -> dict[str, Any] | None:
  """Returns what mpirun says; it names no machine, so over several of them the coordinator must be given."""
  count = _number(environment, "OMPI_COMM_WORLD_SIZE", 0)
  if count < 2:
    return None
  found: dict[str, Any] = {"processes": count, "process": _number(environment, "OMPI_COMM_WORLD_RANK", -1)}
  if _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE", 0) == count:
    job = re.sub(r"\D", "", environment.get("OMPI_MCA_ess_base_jobid", environment.get("PMIX_NAMESPACE", "")))
    found["coordinator"] = f"127.0.0.1:{61440 + int(job or 0) % 4096}"
  return found


def process_count() -> int:
  """Returns how many processes the run has."""
  return 1 if _meeting is None else _meeting.place.processes


def is_first() -> bool:
  """Returns whether this process is the one that writes."""
  return _meeting is None or _meeting.place.process == 0


def exchange_values(value: Any) -> list[Any]:
  """Returns what each process gave, by index; all must call it, in the same order. For the form see `Meeting`."""
  return [value] if _meeting is None else _meeting.exchange(value)


def from_first(function: Callable[[], T]) -> T:
  """Returns what the function returns in process 0, which alone calls it; its mistake is everybody's.

  Raises:
    UserError: where the function does.
  """
  if _meeting is None:
    return function()
  if not is_first():
    told = _meeting.exchange(None)[0]
    if "error" in told:
      raise Shared(told["error"])
    return told["value"]
  try:
    value = function()
  except UserError as error:
    _meeting.exchange({"error": str(error)})
    raise Shared(str(error)) from error
  return _meeting.exchange({"value": value})[0]["value"]


@contextlib.contextmanager
def joined_processes(where: ProcessPlace | None, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
  """Runs what follows as one of several processes, with the devices of all; they end together.

  To be entered before jax has any device. In a run of several, what native libraries print is kept aside, and shown
  only where it explains an end that nothing else does.

  Args:
    where: this process's place; None is alone.
    wait_seconds: for the others to come.

  Raises:
    UserError: if they do not.
  """
  if where is None:
    yield
    return
  global _meeting
  ending = _Ending(where)
  meeting = Meeting(where, ending.because)
  meeting.gather(wait_seconds)
  ending.keep_native_output_aside()
  _meeting = meeting
  try:
    _initialize(where, meeting, wait_seconds)
    yield
    meeting.exchange("done")
  except (UserError, KeyboardInterrupt) as error:
    sentence = str(error) if isinstance(error, UserError) else "interrupted"
    meeting.leave("" if isinstance(error, Shared) else sentence)
    ending.at_once(error)
  except Exception as error:  # Of a collective whose other side is gone, or of our own.
    time.sleep(REASON_SECONDS)  # If one was lost, the watch says so now, and ends the process.
    meeting.leave(f"{type(error).__name__}: {(str(error) or '-').splitlines()[0]}")
    traceback.print_exc()
    os._exit(1)  # An orderly exit would wait for the others.
  else:
    import jax

    jax.distributed.shutdown()
    meeting.leave()
  finally:
    _meeting = None


def _initialize(where: ProcessPlace, meeting: Meeting, wait_seconds: float) -> None:
  """Makes the devices of all processes jax's devices; process 0 names the port."""
  import jax

  with socket.socket() as probe:
    probe.bind(("", 0))
    port = meeting.exchange(probe.getsockname()[1])[0]
  jax.distributed.initialize(
    f"{where.host}:{port}",
    where.processes,
    where.process,
    initialization_timeout=int(wait_seconds),
    heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
  )
  jax.devices()


class _Ending:
  """Ends a process of a multi-process run, with one line of output, once."""

  def __init__(self, where: ProcessPlace) -> None:
    self._where, self._said, self._own = where, threading.Lock(), ""
    self._native: Any = None
    self._handler: Any = None

  def because(self, reason: str, sentence: str) -> None:
    """Prints why the run ended in another process, and ends this one."""
    if sentence and sentence != self._own:
      time.sleep(SAME_SECONDS)  # A mistake that this process is about to find as well is said as its own.
    if self._own:
      if sentence == self._own and self._where.process != 0:
        os._exit(2)  # Process 0 has said it.
      return  # The mistake found here is being said.
    self._say(
      f"error: {reason}; process {self._where.process} ends too; the same command goes on from the last checkpoint"
    )
    os._exit(LOST)

  def at_once(self, error: BaseException) -> None:
    """Ends without waiting for the others, as they must not for this one."""
    if isinstance(error, KeyboardInterrupt):
      self._say("interrupted")
      os._exit(130)
    self._own = str(error)
    if self._where.process != 0:
      time.sleep(2 * SAME_SECONDS)  # Process 0 says what all have found.
    if not isinstance(error, Shared) or self._where.process == 0:
      self._say(f"error: {error}")
    sys.stdout.flush()
    if self._where.process == 0:
      time.sleep(
        2 * SAME_SECONDS
      )  # A connection that ends with something unread takes the last words with it.
    os._exit(2)

  def _say(self, line: str) -> None:
    if self._said.acquire(blocking=False):
      sys.stderr.write(line + "\n")
      sys.stderr.flush()
    else:
      time.sleep(60)  # Another thread is saying it, and ends the process.

  def keep_native_output_aside(self) -> None:
    """Lets file descriptors 1 and 2 lead to a file, `sys`'s streams to where they led, and an abort to `_aborted`.

    jax's client aborts the process when its coordinator is gone, with a page of text; the watch says it in one line,
    and is not always first. Its collectives greet on standard output, where results belong.
    """
    self._native = tempfile.TemporaryFile()  # noqa: SIM115
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
      getattr(sys, name).flush()
      shown = os.dup(descriptor)
      os.dup2(self._native.fileno(), descriptor)
      setattr(sys, name, os.fdopen(shown, "w", buffering=1, encoding="utf-8", errors="backslashreplace"))
    self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)
    ctypes.CDLL(None).signal(signal.SIGABRT, self._handler)

  def _aborted(self, number: int) -> None:
    """Runs in the native thread that aborts: waits for the watch, else shows what was kept aside."""
    time.sleep(REASON_SECONDS)
    self._native.seek(0)
    text = self._native.read().decode(errors="replace")
    self._say(f"error: a native library ended process {self._where.process}:\n{text[-4000:]}")
    os._exit(128 + number)
