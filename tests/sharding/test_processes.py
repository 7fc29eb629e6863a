"""Where a process finds its place, how processes meet, and how they end together; none of it needs jax."""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent import futures

import pytest

from gen.errors import UserError
from gen.sharding import processes
from gen.sharding.rendezvous import Meeting, ProcessPlace

# Meets the others, trades two values with them, and then does what it is told.
pytestmark = pytest.mark.process

MEMBER = """
import json, os, sys, time
from gen.errors import UserError
from gen.sharding import processes
place, plan = processes.ProcessPlace(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])), sys.argv[4]
processes._initialize = lambda *_: None
class Jax: distributed = type("", (), {"shutdown": staticmethod(lambda: None)})
sys.modules["jax"] = Jax
def mistaken():
  raise UserError("the folder is taken")
try:
  with processes.joined_processes(place, 20):
    heard = processes.exchange_values(place.process * 10) + [processes.from_first(lambda: "of first")]
    print(json.dumps(heard), flush=True)
    if plan == "wait":
      time.sleep(60)
    if plan == "mistake":
      processes.from_first(mistaken)
    if plan == "mine":
      raise UserError("my disk is full")
    if plan == "same":
      raise UserError("no such mesh")
    if plan == "abort":
      os.write(2, b"a page of text")
      os.abort()
    if plan == "broken":
      raise RuntimeError("a collective failed")
except UserError as error:
  print("error:", error, file=sys.stderr)
  sys.exit(2)
"""


def free_address():
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{probe.getsockname()[1]}"


class Members:
  """Processes of one meeting, each with its plan."""

  def __init__(self, *plans):
    address = free_address()
    self.processes = [
      subprocess.Popen(
        [sys.executable, "-c", MEMBER, address, str(len(plans)), str(index), plan],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
      for index, plan in enumerate(plans)
    ]

  def until_met(self):
    """Waits until all have traded values, which it returns."""
    return [json.loads(process.stdout.readline()) for process in self.processes]

  def ends(self):
    """Returns each one's exit code and standard error."""
    texts = [process.communicate(timeout=60)[1] for process in self.processes]
    return [(process.returncode, text) for process, text in zip(self.processes, texts, strict=True)]


def test_values_are_traded_and_an_orderly_end_is_silent():
  members = Members("end", "end", "end")
  assert members.until_met() == [[0, 10, 20, "of first"]] * 3
  assert members.ends() == [(0, "")] * 3


@pytest.mark.parametrize("victim", [0, 2])
def test_the_death_of_any_process_ends_the_others_with_one_line(victim):
  members = Members("wait", "wait", "wait")
  members.until_met()
  begun = time.monotonic()
  members.processes[victim].kill()
  ends = members.ends()
  assert time.monotonic() - begun < 10
  for index, (code, text) in enumerate(ends):
    if index != victim:
      assert code == processes.LOST
      assert text.count("\n") == 1
      assert f"process {victim} of 3" in text
      assert "was killed or crashed" in text
      assert f"process {index} ends too" in text


@pytest.mark.parametrize(
  ("plans", "codes", "saying"),
  [
    (("mistake", "mistake", "mistake"), (2, 2, 2), {0: "error: the folder is taken\n"}),
    (("same", "same", "same"), (2, 2, 2), {0: "error: no such mesh\n"}),
    (
      ("wait", "mine"),
      (75, 2),
      {0: "ended: my disk is full; process 0 ends too", 1: "error: my disk is full\n"},
    ),
    (("wait", "broken"), (75, 1), {0: "RuntimeError: a collective failed", 1: "Traceback"}),
    (("abort",), (134,), {0: "a native library ended process 0:\na page of text"}),
  ],
)
def test_a_mistake_is_said_once_and_ends_all(plans, codes, saying):
  members = Members(*plans)
  members.until_met()
  ends = members.ends()
  assert tuple(code for code, _ in ends) == codes
  for index, (_, text) in enumerate(ends):
    assert saying.get(index, "") in text
    assert bool(text) == (index in saying), text


def test_an_abort_of_a_process_that_lost_another_is_the_watchs_line():
  members = Members("wait", "abort")
  members.until_met()
  members.processes[0].kill()
  code, text = members.ends()[1]
  assert (code, text.count("\n")) == (processes.LOST, 1), text
  assert "process 0 of 2" in text


def test_a_process_has_its_answer_before_it_hears_that_an_answered_one_left():
  address, lost = free_address(), []
  meetings = [Meeting(ProcessPlace(address, 3, index), lambda *what: lost.append(what)) for index in range(3)]
  with futures.ThreadPoolExecutor(3) as pool:
    list(pool.map(lambda meeting: meeting.gather(20), meetings))
    quick, slow = meetings[0]._peers  # In the order in which they came, and are answered.
    send = meetings[0]._peers[slow].send

  def sent_late(value):
    time.sleep(isinstance(value, list))  # An answer; what another said is passed on at once.
    send(value)

  meetings[0]._peers[slow].send = sent_late
  with futures.ThreadPoolExecutor(3) as pool:
    answers = [pool.submit(meeting.exchange, index) for index, meeting in enumerate(meetings)]
    assert answers[quick].result(20) == [0, 1, 2]
    meetings[quick].leave("no such mesh")
    deadline = time.monotonic() + 20
    while len(lost) < 2 and time.monotonic() < deadline:
      time.sleep(0.01)
    meetings[slow]._peers[0]._values.put({"value": "never answered"})  # Ends the wait of one that has none.
    assert answers[slow].result(20) == [0, 1, 2]
  assert [sentence for _, sentence in lost] == ["no such mesh"] * 2


def gather(address, count, index, seconds=0.4):
  Meeting(ProcessPlace(address, count, index), lambda *_: None).gather(seconds)


def test_a_coordinator_that_does_not_answer_is_named_within_the_wait():
  address, begun = free_address(), time.monotonic()
  with pytest.raises(UserError, match=rf"coordinator at {address} did not answer in 0.4 s"):
    gather(address, 2, 1)
  assert time.monotonic() - begun < 5


def test_process_0_says_how_many_came():
  with pytest.raises(UserError, match=r"only 1 of 3 processes connected to .* in 0.4 s"):
    gather(free_address(), 3, 0)


def test_a_door_that_is_not_the_coordinators_is_named():
  with socket.create_server(("127.0.0.1", 0)) as other:
    address = f"127.0.0.1:{other.getsockname()[1]}"
    with pytest.raises(UserError, match=r"accepted the connection of process 1, but did not answer"):
      gather(address, 2, 1, 0.4)


def test_processes_of_unlike_runs_do_not_meet():
  address = free_address()
  stranger = subprocess.Popen(
    [sys.executable, "-c", MEMBER, address, "3", "1", "end"], stderr=subprocess.PIPE
  )
  with pytest.raises(UserError, match="process 1 was started as one of 3, process 0 as one of 2"):
    gather(address, 2, 0, 30)
  assert b"process 1 was started as one of 3" in stranger.communicate(timeout=30)[1]
  assert stranger.returncode == 2


@pytest.mark.parametrize(
  ("flags", "environment", "expected"),
  [
    ((), {}, None),
    (("a:1", 1, 0), {}, None),
    (("10.0.0.1:8476", 2, 1), {}, ("10.0.0.1:8476", 2, 1)),
    ((), {"JAX_COORDINATOR_ADDRESS": "a:5", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "0"}, ("a:5", 4, 0)),
    ((), {"JAX_COORDINATOR_ADDRESS": "a:5", "JAX_NUM_PROCESSES": "4", "JOB_COMPLETION_INDEX": "3"}, ("a:5", 4, 3)),
    ((), {"JOB_COMPLETION_INDEX": "3"}, None),
    ((), {"SLURM_JOB_ID": "4097", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NODELIST": "gpu[03-04]",
          "SLURM_PROCID": "0"}, ("gpu03:61441", 8, 0)),
    (("", 0, -1), {"SLURM_JOB_ID": "9", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, None),  # a batch script
    (("b:7", 0, -1), {"SLURM_JOB_ID": "9", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "x",
                      "SLURM_PROCID": "1"}, ("b:7", 2, 1)),
    ((), {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
          "OMPI_MCA_ess_base_jobid": "4098"}, ("127.0.0.1:61442", 2, 1)),
    (("c:9", 0, -1), {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}, ("c:9", 4, 0)),
  ],
)  # fmt: skip
def test_a_process_finds_its_place(flags, environment, expected):
  assert processes.find_place(*flags, environment=environment) == expected


@pytest.mark.parametrize(
  ("flags", "environment", "sentence"),
  [
    (("", 2, -1), {}, "also needs --coordinator=HOST:PORT and --process=INDEX"),
    (("a:1", 2, -1), {}, "also needs --process=INDEX"),
    (("a", 2, 0), {}, "--coordinator=a: write HOST:PORT"),
    (("a:70000", 2, 0), {}, "write HOST:PORT"),
    (("a:1", 2, 2), {}, "numbered from 0 to 1"),
    ((), {"JAX_NUM_PROCESSES": "two"}, "the variable JAX_NUM_PROCESSES is 'two'"),
    ((), {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}, "also needs --coordinator=HOST:PORT"),
  ],
)
def test_a_place_given_in_part_is_a_mistake(flags, environment, sentence):
  with pytest.raises(UserError) as found:
    processes.find_place(*flags, environment=environment)
  assert sentence in str(found.value)


def test_a_process_alone_decides_alone():
  assert processes.find_place(environment={}) is None
  with processes.joined_processes(None):
    assert (processes.process_count(), processes.is_first(), processes.exchange_values("x")) == (
      1,
      True,
      ["x"],
    )
    assert processes.from_first(lambda: os.getpid()) == os.getpid()
