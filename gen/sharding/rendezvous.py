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

PROBE_AFTER, PROBE_EVERY, PROBES = (
  3,
  1,
  4,
)  # seconds, seconds, count: a silent machine is lost after 7 seconds
GOODBYE, REASON = "goodbye", "reason"


class ProcessPlace(NamedTuple):
  """One process's place among those of a run.

  Attributes:
    address: HOST:PORT at which process 0 listens.
    processes: how many the run has.
    process: which of them this is, from 0.
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
  """The connections of a process to the others: of process 0 to each of them, of each of them to process 0."""

  def __init__(self, place: ProcessPlace, lost: Callable[[str, str], None]) -> None:
    """Prepares the connections; none is open yet.

    Args:
      place: of this process.
      lost: called once, in a thread, when a process ends before the run does: with what happened to it, and its last
        message, "" if it sent none.
    """
    self.place, self._lost = place, lost
    self._peers: dict[int, _Peer] = {}
    self._over = threading.Event()
    self._telling_all = threading.Lock()

  def gather(self, wait_seconds: float) -> None:
    """Waits for all processes.

    Raises:
      UserError: if process 0 does not answer, some do not come, or the place of one is not free or not right.
    """
    deadline = time.monotonic() + wait_seconds
    if self.place.process == 0:
      self._listen(deadline, wait_seconds)
    else:
      self._peers[0] = _Peer(_reach(self.place, deadline, wait_seconds))
      self._greet(deadline, wait_seconds)
    threading.Thread(target=self._watch, name="meeting", daemon=True).start()

  def exchange(self, value: Any) -> list[Any]:
    """Returns what each process gave, by index; every process must call it, in the same order.

    Args:
      value: anything that JSON holds.
    """
    if self.place.process != 0:
      self._peers[0].send(value)
      return self._peers[0].receive()
    everything = [value] + [self._peers[index].receive() for index in range(1, self.place.processes)]
    with (
      self._telling_all
    ):  # One that is answered may leave at once; the others hear of that after their answer.
      for peer in self._peers.values():
        peer.send(everything)
    return everything

  def leave(self, sentence: str = "") -> None:
    """Ends the meeting here: silently after a run's end, else with the sentence that the others will say.

    After a sentence the watch goes on: the others may have come to the same one.
    """
    if not sentence:
      self._over.set()
    for peer in self._peers.values():
      peer.leave(sentence)

  def _listen(self, deadline: float, wait_seconds: float) -> None:
    place = self.place
    try:
      family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
      listener = socket.create_server(("", place.port), family=family, backlog=place.processes)
    except (OSError, OverflowError) as error:
      raise UserError(
        f"process 0 cannot listen at port {place.port}: {error}; choose another --coordinator"
      ) from error
    with listener:
      while len(self._peers) < place.processes - 1:
        listener.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
          peer = _Peer(listener.accept()[0])
          peer.socket.settimeout(5)
          hello = peer.read()
        except TimeoutError:
          self._refuse_all(
            f"only {len(self._peers) + 1} of {place.processes} processes came to {place.address} in"
            f" {wait_seconds:g} s; start the others, or give another --processes"
          )
        except (OSError, ValueError):
          continue  # somebody who knocked at the wrong door
        self._admit(peer, hello)
    for peer in self._peers.values():
      peer.send("welcome")
      peer.socket.settimeout(None)

  def _admit(self, peer: "_Peer", hello: Any) -> None:
    index, count = (hello.get("index"), hello.get("count")) if isinstance(hello, dict) else (None, None)
    if index is None:
      peer.socket.close()
    elif count != self.place.processes:
      self._refuse_all(
        f"process {index} was started as one of {count}, process 0 as one of {self.place.processes}; give all the same",
        peer,
      )
    elif index in self._peers or not 0 < index < count:
      self._refuse_all(f"two processes say that they are number {index}; give each its own --process", peer)
    else:
      peer.name = f"process {index} of {count} ({hello['host']}, pid {hello['pid']})"
      self._peers[index] = peer

  def _refuse_all(self, sentence: str, *others: "_Peer") -> None:
    for peer in [*self._peers.values(), *others]:
      peer.leave(sentence)
    raise UserError(sentence)

  def _greet(self, deadline: float, wait_seconds: float) -> None:
    place, first = self.place, self._peers[0]
    first.name = f"process 0 of {place.processes} ({place.address})"
    try:
      first.send(
        {"index": place.process, "count": place.processes, "host": socket.gethostname(), "pid": os.getpid()}
      )
      first.socket.settimeout(
        max(deadline - time.monotonic(), 0) + 2
      )  # process 0 says first who did not come
      answer = first.read()
    except (OSError, ValueError):
      raise UserError(
        f"the coordinator at {place.address} took the connection of process {place.process}, and did not answer in"
        f" {wait_seconds:g} s; is it process 0 of this run?"
      ) from None
    if answer != "welcome":
      reason = answer[GOODBYE] if isinstance(answer, dict) and GOODBYE in answer else "it is not of this run"
      raise UserError(f"the coordinator at {place.address} ended the meeting: {reason}")
    first.socket.settimeout(None)

  def _watch(self) -> None:
    """Reads what comes until all have left; runs in a thread of its own."""
    peers = dict(self._peers)
    while peers:
      readable, _, _ = select.select([peer.socket for peer in peers.values()], [], [], 0.5)
      for index, peer in list(peers.items()):
        if peer.socket not in readable:
          continue
        gone = peer.take()
        if gone is None:
          continue
        del peers[index]
        if (gone.reason or gone.sentence) and not self._over.is_set():
          self._over.set()
          with self._telling_all:
            for other in self._peers.values():
              if other is not peer:
                other.send({GOODBYE: gone.sentence, REASON: gone.reason})
          self._lost(gone.reason, gone.sentence)


class _Gone(NamedTuple):
  """Why a process is gone, and what it said itself; nothing at all after an orderly end."""

  reason: str
  sentence: str = ""


class _Peer:
  """One connection: a line of JSON is a message."""

  def __init__(self, connection: socket.socket) -> None:
    self.socket, self.name = connection, "a process"
    self._buffer, self._values = b"", queue.SimpleQueue[Any]()
    self._sending = threading.Lock()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
      ("TCP_KEEPIDLE", PROBE_AFTER),
      ("TCP_KEEPINTVL", PROBE_EVERY),
      ("TCP_KEEPCNT", PROBES),
    ):
      if hasattr(socket, option):  # macOS lacks the first
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

  def send(self, value: Any) -> None:
    """Sends a message; one that nobody takes is dropped, for the watch says why."""
    with self._sending:
      try:
        self.socket.sendall(json.dumps(value).encode() + b"\n")
      except OSError:
        return

  def read(self) -> Any:
    """Returns the next message, before the watch has begun."""
    while b"\n" not in self._buffer:
      found = self.socket.recv(65536)
      if not found:
        raise OSError("the connection ended")
      self._buffer += found
    line, _, self._buffer = self._buffer.partition(b"\n")
    return json.loads(line)

  def receive(self) -> Any:
    """Returns the next message that the watch has taken; waits for it."""
    return self._values.get()["value"]

  def take(self) -> "_Gone | None":
    """Processes received data; returns None while the connection is open."""
    try:
      found = self.socket.recv(1 << 20)
    except OSError as error:
      return _Gone(f"{self.name} was lost ({error.strerror or error})")
    if not found:
      return _Gone(f"{self.name} ended, killed or crashed")
    *lines, self._buffer = (self._buffer + found).split(b"\n")
    for line in lines:
      value = json.loads(line)
      if isinstance(value, dict) and GOODBYE in value:
        sentence = value[GOODBYE]
        return _Gone(value.get(REASON) or (f"{self.name} ended: {sentence}" if sentence else ""), sentence)
      self._values.put({"value": value})
    return None

  def leave(self, sentence: str) -> None:
    """Sends the last message and closes the connection."""
    self.send({GOODBYE: sentence})


def _reach(place: ProcessPlace, deadline: float, wait_seconds: float) -> socket.socket:
  """Returns a connection to process 0, which may be still starting."""
  reason = "no answer"
  while (left := deadline - time.monotonic()) > 0:
    try:
      reached = socket.create_connection((place.host.strip("[]"), place.port), timeout=min(left, 5))
      if reached.getsockname() != reached.getpeername():
        return reached
      reached.close()  # Of a free port that the system gave to this very call: it would speak to itself.
    except (OSError, OverflowError) as error:
      reason = getattr(error, "strerror", None) or str(error)
      time.sleep(min(0.2, max(left, 0)))
  raise UserError(
    f"process {place.process} of {place.processes}: the coordinator at {place.address} did not answer in"
    f" {wait_seconds:g} s ({reason}); start process 0 there, or give its address with --coordinator"
  )
