"""Connects the processes of one run over sockets, without jax, so that all detect the loss of any one at once.

Process 0 listens at a known address, and the others connect to it. They can then exchange values (decisions that must
be equal everywhere), and each monitors its connection. If a process ends, or its machine stops answering, the run ends
everywhere with one sentence.
"""

import json
import os
import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from gen.errors import UserError

# TCP keep-alive: the first probe after 3 s of silence, then one every second, and the connection is lost after 4 probes
# without an answer. So a machine that stops without closing its connections is detected after 7 s. By default Linux
# waits two hours before the first probe.
PROBE_AFTER, PROBE_EVERY, PROBES = 3, 1, 4
HELLO_SECONDS = 5  # for a connection to send its first message; other programs may connect to the port too
LEAVE, REASON = "leave", "reason"  # keys of a process's last message


class ProcessPlace(NamedTuple):
  """The rank of one process of a run.

  Attributes:
    address: HOST:PORT at which process 0 listens.
    processes: number of processes of the run.
    process: index of this process, from 0.
  """

  address: str
  processes: int
  process: int

  @property
  def host(self) -> str:
    """The part of the address before its last colon."""
    return self.address.rpartition(":")[0]

  @property
  def port(self) -> int:
    """The number after the address's last colon."""
    return int(self.address.rpartition(":")[2])


class Meeting:
  """The connections of a process: of process 0 to each other process, of each other process to process 0."""

  def __init__(self, place: ProcessPlace, lost: Callable[[str, str], None]) -> None:
    """Prepares the connections; none is open yet.

    Args:
      place: of this process.
      lost: called once, in a thread, if a process ends before the run does. Its arguments are what happened to the
        process, and the last message of the process or "".
    """
    self.place, self._lost = place, lost
    self._peers: dict[int, _Peer] = {}
    self._ended = threading.Event()
    self._broadcasting = threading.Lock()

  def gather(self, wait_seconds: float) -> None:
    """Waits until all processes are connected.

    Raises:
      UserError: if process 0 does not answer, if processes are missing, or if two have the same index or another count.
    """
    deadline = time.monotonic() + wait_seconds
    if self.place.process == 0:
      self._listen(deadline, wait_seconds)
    else:
      self._peers[0] = _Peer(_reach(self.place, deadline, wait_seconds))
      self._greet(deadline, wait_seconds)
    threading.Thread(target=self._watch, name="meeting", daemon=True).start()

  def exchange(self, value: Any) -> list[Any]:
    """Returns the value of each process, by index; every process must call it, in the same order.

    Args:
      value: anything that JSON can hold.
    """
    if self.place.process != 0:
      self._peers[0].send(value)
      return self._peers[0].receive()
    everything = [value] + [self._peers[index].receive() for index in range(1, self.place.processes)]
    # A process may leave as soon as it has its answer. The lock keeps the watch from reporting that to a process that
    # still waits for its own answer.
    with self._broadcasting:
      for peer in self._peers.values():
        peer.send(everything)
    return everything

  def leave(self, sentence: str = "") -> None:
    """Ends the meeting in this process, silently after the end of a run, or with a sentence for the others.

    After a sentence the watch continues, because the other processes may have found the same mistake.
    """
    if not sentence:
      self._ended.set()
    for peer in self._peers.values():
      peer.leave(sentence)

  def _listen(self, deadline: float, wait_seconds: float) -> None:
    place = self.place
    try:
      family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
      # "" listens on all interfaces: the coordinator's public address need not be one of this machine's own. All others
      # may connect at the same moment, so the backlog holds them all.
      listener = socket.create_server(("", place.port), family=family, backlog=place.processes)
    except (OSError, OverflowError) as error:
      raise UserError(
        f"process 0 cannot listen at port {place.port}: {error}; choose another port in --coordinator"
      ) from error
    with listener:
      while len(self._peers) < place.processes - 1:
        # Never 0, which would make the socket non-blocking: accept would raise BlockingIOError and not TimeoutError.
        listener.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
          peer = _Peer(listener.accept()[0])
          peer.socket.settimeout(HELLO_SECONDS)
          hello = peer.read()
        except TimeoutError:
          self._refuse_all(
            f"only {len(self._peers) + 1} of {place.processes} processes connected to {place.address} in"
            f" {wait_seconds:g} s; start the others, or change --processes"
          )
        except (OSError, ValueError):
          continue  # another program connected to this port
        self._admit(peer, hello)
    for peer in self._peers.values():
      # Sent only when all are connected, so that no process initializes jax for a run that does not start.
      peer.send("welcome")
      peer.socket.settimeout(None)

  def _admit(self, peer: "_Peer", hello: Any) -> None:
    index, count = (hello.get("index"), hello.get("count")) if isinstance(hello, dict) else (None, None)
    if index is None:
      peer.socket.close()
    elif count != self.place.processes:
      self._refuse_all(
        f"process {index} was started as one of {count}, process 0 as one of {self.place.processes}; set the same "
        "--processes for all",
        peer,
      )
    elif index in self._peers or not 0 < index < count:
      self._refuse_all(f"two processes have the index {index}; give each process its own --process", peer)
    else:
      peer.name = f"process {index} of {count} ({hello['host']}, pid {hello['pid']})"
      self._peers[index] = peer

  def _refuse_all(self, sentence: str, *refused: "_Peer") -> None:
    for peer in [*self._peers.values(), *refused]:
      peer.leave(sentence)
    raise UserError(sentence)

  def _greet(self, deadline: float, wait_seconds: float) -> None:
    place, coordinator = self.place, self._peers[0]
    coordinator.name = f"process 0 of {place.processes} ({place.address})"
    try:
      coordinator.send(
        {"index": place.process, "count": place.processes, "host": socket.gethostname(), "pid": os.getpid()}
      )
      # 2 s longer than process 0 waits, so that its message about missing processes arrives first.
      coordinator.socket.settimeout(max(deadline - time.monotonic(), 0) + 2)
      answer = coordinator.read()
    except (OSError, ValueError):
      raise UserError(
        f"the coordinator at {place.address} accepted the connection of process {place.process}, but did not answer in"
        f" {wait_seconds:g} s; check that it is process 0 of this run"
      ) from None
    if answer != "welcome":
      reason = answer[LEAVE] if isinstance(answer, dict) and LEAVE in answer else "it is not of this run"
      raise UserError(f"the coordinator at {place.address} refused process {place.process}: {reason}")
    coordinator.socket.settimeout(None)

  def _watch(self) -> None:
    """Reads messages until all processes have left; runs in a thread."""
    peers = dict(self._peers)
    while peers:
      readable, _, _ = select.select([peer.socket for peer in peers.values()], [], [], 0.5)
      for index, peer in list(peers.items()):
        if peer.socket not in readable:
          continue
        departure = peer.take()
        if departure is None:
          continue
        del peers[index]
        if (departure.reason or departure.sentence) and not self._ended.is_set():
          self._ended.set()
          # Only process 0 is connected to all, so it passes the departure on.
          with self._broadcasting:
            for survivor in self._peers.values():
              if survivor is not peer:
                survivor.send({LEAVE: departure.sentence, REASON: departure.reason})
          self._lost(departure.reason, departure.sentence)


class _Departure(NamedTuple):
  """Why a process left, and its own last message; both are empty after an orderly end."""

  reason: str
  sentence: str = ""


class _Peer:
  """One connection, whose messages are lines of JSON."""

  def __init__(self, connection: socket.socket) -> None:
    self.socket, self.name = connection, "a process"
    self._buffer, self._values = b"", queue.SimpleQueue[Any]()
    self._sending = threading.Lock()
    # Messages are small, and each is waited for: without Nagle's delay.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
      ("TCP_KEEPIDLE", PROBE_AFTER),
      ("TCP_KEEPINTVL", PROBE_EVERY),
      ("TCP_KEEPCNT", PROBES),
    ):
      if hasattr(socket, option):  # macOS does not have the first
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

  def send(self, value: Any) -> None:
    """Sends a message; if the other side is gone it is dropped, and the watch reports the reason."""
    with self._sending:
      try:
        self.socket.sendall(json.dumps(value).encode() + b"\n")
      except OSError:
        return

  def read(self) -> Any:
    """Returns the next message, before the watch has started."""
    while b"\n" not in self._buffer:
      received = self.socket.recv(65536)
      if not received:
        raise OSError("the connection ended")
      self._buffer += received
    line, _, self._buffer = self._buffer.partition(b"\n")
    return json.loads(line)

  def receive(self) -> Any:
    """Waits for the next message that the watch has read, and returns it."""
    return self._values.get()["value"]

  def take(self) -> "_Departure | None":
    """Processes received data; returns None while the connection is open."""
    try:
      received = self.socket.recv(1 << 20)
    except OSError as error:
      return _Departure(f"{self.name} was lost ({error.strerror or error})")
    if not received:
      return _Departure(f"{self.name} was killed or crashed")
    *lines, self._buffer = (self._buffer + received).split(b"\n")
    for line in lines:
      value = json.loads(line)
      if isinstance(value, dict) and LEAVE in value:
        sentence = value[LEAVE]
        return _Departure(
          value.get(REASON) or (f"{self.name} ended: {sentence}" if sentence else ""), sentence
        )
      self._values.put({"value": value})
    return None

  def leave(self, sentence: str) -> None:
    """Sends the last message."""
    self.send({LEAVE: sentence})


def _reach(place: ProcessPlace, deadline: float, wait_seconds: float) -> socket.socket:
  """Returns a connection to process 0, which may not have started yet."""
  reason = "no answer"
  while (seconds_left := deadline - time.monotonic()) > 0:
    try:
      # 5 s for an attempt: a firewall that drops packets must not use up the whole wait in one attempt.
      connection = socket.create_connection(
        (place.host.strip("[]"), place.port), timeout=min(seconds_left, 5)
      )
      if connection.getsockname() != connection.getpeername():
        return connection
      # While nobody listens, the system may choose the same port for this end, and connect the process to itself.
      connection.close()
    except (OSError, OverflowError) as error:
      reason = getattr(error, "strerror", None) or str(error)
      time.sleep(min(0.2, max(seconds_left, 0)))
  raise UserError(
    f"process {place.process} of {place.processes}: the coordinator at {place.address} did not answer in"
    f" {wait_seconds:g} s ({reason}); start process 0 there, or set --coordinator to its address"
  )
