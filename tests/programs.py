"""Whole programs in a fork of one process that has imported what they need, for the tests that start many of them.

    done = programs.run(["experiments/plan.py", "--params=1e9"])
    assert done.returncode == 0, done.stderr

Importing jax, flax and orbax takes 1.5 s of a processor, more than most programs compute. So the first call starts a
server, which imports them and starts no backend. Each program is a fork of it with the given words, folder and
environment: a process of its own, with its own backend, files and exit code. Tests about imports, or about what
happens before Python runs, start an interpreter instead.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests import quick_compiling

ROOT = Path(__file__).parents[1]
# Experiments re-execute Python to set the allocator's variable, and would import everything anew.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
# None of them defines a flag, starts a thread or a backend.
IMPORTED = """
import flax.linen, jax, matplotlib.pyplot, ml_collections.config_flags, optax, orbax.checkpoint, scipy.optimize
import gen.config.validation, gen.data.cache, gen.data.dataset, gen.generation.loaded_model, gen.presets
import gen.io.locks, gen.training.loop, gen.training.trunks
"""
LONGEST_REQUEST = 2**20  # bytes


class Program:
  """A program that was started.

  Attributes:
    words: its command line, without the interpreter.
    pid: its process.
    returncode: its exit code, negative for a signal; None until `poll` or `wait` has seen the end.
  """

  def __init__(self, words: Sequence[str], channel: socket.socket) -> None:
    """Takes the channel on which the server reports the process, and later its exit code."""
    self.words, self.returncode, self._channel = list(words), None, channel
    self.pid = _number(channel.recv(100))

  def poll(self) -> int | None:
    """Returns the exit code; None while the program runs."""
    with contextlib.suppress(BlockingIOError):
      self._receive(socket.MSG_DONTWAIT)
    return self.returncode

  def wait(self, timeout: float | None = None) -> int:
    """Returns the exit code at the program's end; kills it after so many seconds.

    Raises:
      subprocess.TimeoutExpired: it was killed.
    """
    self._channel.settimeout(timeout)
    try:
      self._receive()
    except TimeoutError:
      os.kill(self.pid, signal.SIGKILL)
      raise subprocess.TimeoutExpired(self.words, timeout or 0.0) from None
    return self.returncode

  def send_signal(self, number: int) -> None:
    """Sends a signal to the program, if it still runs."""
    if self.poll() is None:
      os.kill(self.pid, number)

  def _receive(self, flags: int = 0) -> None:
    if self.returncode is None:
      self.returncode = _number(self._channel.recv(100, flags))
      self._channel.close()


def _number(answer: bytes) -> int:
  if not answer:
    raise RuntimeError("the server of tests/programs.py has ended; its error is printed above")
  return int(answer)


def start(
  words: Sequence[object],
  stdout: IO[Any] | int,
  stderr: IO[Any] | int,
  cwd: str | Path = ROOT,
  env: Mapping[str, str] | None = None,
) -> Program:
  """Starts a program: a script, `-m MODULE` or `-c CODE`, and its arguments; its output goes to the open files."""
  ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
  environment = quick_compiling.with_flags(ENVIRONMENT | dict(env or os.environ))
  request = {"words": list(map(str, words)), "cwd": str(cwd), "env": environment}
  outputs = [file if isinstance(file, int) else file.fileno() for file in (stdout, stderr)]
  with theirs:
    socket.send_fds(_server()[0], [json.dumps(request).encode()], [theirs.fileno(), *outputs])
  return Program(request["words"], ours)


def run(
  words: Sequence[object],
  cwd: str | Path = ROOT,
  env: Mapping[str, str] | None = None,
  timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
  """Runs a program to its end; returns its exit code and what it printed."""
  with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
    program = start(words, stdout, stderr, cwd, env)
    code = program.wait(timeout)
    for file in (stdout, stderr):
      file.seek(0)
    return subprocess.CompletedProcess(program.words, code, stdout.read(), stderr.read())


@functools.cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
  """Starts the server; it ends with this process, which closes the channel."""
  ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
  paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
  command = [sys.executable, "-m", "tests.programs", str(theirs.fileno())]
  environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
  with theirs:
    server = subprocess.Popen(
      command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd=ROOT, env=environment
    )
  return ours, server


def _serve(channel: socket.socket) -> None:
  """Forks a program for each request, until the other end closes."""
  import gc

  exec(IMPORTED, {})
  quick_compiling.apply_to_jax()
  gc.collect()
  gc.freeze()  # a program's collections then leave the shared pages alone
  while True:
    request, descriptors, _, _ = socket.recv_fds(channel, LONGEST_REQUEST, 3)
    if not request:
      return
    if not os.fork():
      channel.close()
      _watch(json.loads(request), *descriptors)
      return  # in the program, at its end; the interpreter ends as after a script
    for descriptor in descriptors:
      os.close(descriptor)
    with contextlib.suppress(ChildProcessError):
      while os.waitpid(-1, os.WNOHANG)[0]:
        pass


def _watch(request: dict[str, Any], report: int, stdout: int, stderr: int) -> None:
  """Forks the program and reports its process and exit code; returns in the program alone, when it has run."""
  with socket.socket(fileno=report) as channel:
    if program := os.fork():
      os.close(stdout), os.close(stderr)
      channel.send(str(program).encode())
      code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
      with contextlib.suppress(OSError):  # nobody waits for it any more
        channel.send(str(code).encode())
      os._exit(0)
  for number, descriptor in ((1, stdout), (2, stderr)):
    os.dup2(descriptor, number)
    os.close(descriptor)
  os.chdir(request["cwd"])
  _take_environment(request["env"])
  _run_words(request["words"])


def _take_environment(environment: dict[str, str]) -> None:
  """Sets the environment, and the options that jax read from the server's when it was imported."""
  import jax

  before = dict(os.environ)
  os.environ.clear()
  os.environ.update(environment)
  for name in before.keys() | environment.keys():
    value, option = environment.get(name), name.lower()
    if not name.startswith("JAX_") or value == before.get(name) or option not in jax.config.values:
      continue
    current = jax.config.values[option]  # its attributes leave flags out
    if isinstance(current, bool):
      jax.config.update(option, value in ("1", "true", "True"))
    else:
      jax.config.update(option, value if value is None or current is None else type(current)(value))


def _run_words(words: list[str]) -> None:
  import runpy
  import types

  sys.orig_argv = [sys.executable, *words]
  if words[0] == "-c":
    sys.argv, sys.path[0] = ["-c", *words[2:]], ""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(words[1], "<string>", "exec"), main.__dict__)
  elif words[0] == "-m":
    sys.argv, sys.path[0] = words[1:], str(Path.cwd())
    runpy.run_module(words[1], run_name="__main__", alter_sys=True)
  else:
    sys.argv, sys.path[0] = words, str(Path(words[0]).absolute().parent)
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
  _serve(socket.socket(fileno=int(sys.argv[1])))
