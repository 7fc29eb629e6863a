"""Signals that ask to save and stop: echoes, hang-ups, nohup."""

import os
import signal
import subprocess
import sys

import pytest

from gen.cli import signals

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def urgencies(*pairs):
  """Returns what each (seconds, signal) asks for."""
  times = iter([seconds for seconds, _ in pairs])
  presses = signals.SignalDebouncer(lambda: next(times))
  return [presses.urgency(number) for _, number in pairs]


def test_a_signal_that_follows_its_like_at_once_is_an_echo_and_the_second_press_stops_at_once():
  assert urgencies((0, INT), (0.01, INT), (0.02, TERM), (2.0, INT), (2.1, TERM)) == [1, 0, 2, 2, 2]


def test_a_hang_up_is_no_press_however_often_it_comes():
  assert urgencies((0, HUP), (0.1, TERM), (3, HUP), (5, HUP), (5.1, HUP), (9, INT)) == [1, 1, 1, 1, 0, 2]


@pytest.fixture
def handlers():
  before = {number: signal.getsignal(number) for number in (INT, TERM, HUP)}
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_each_signal_asks_once_to_stop(handlers, number):
  lines = []
  request = signals.StopRequest(lines.append)
  assert not request.stop()
  for _ in range(2):
    os.kill(os.getpid(), number)
  assert request.stop() and len(lines) == 1


def test_a_second_press_interrupts(handlers):
  signals.StopRequest(lambda _: None)
  os.kill(os.getpid(), INT)
  with pytest.raises(KeyboardInterrupt):
    os.kill(os.getpid(), TERM)


def test_a_program_under_nohup_outlives_its_terminal():
  code = """
import os, signal
from gen.cli import signals
signals.StopRequest(print)
os.kill(os.getpid(), signal.SIGHUP)
print("on")
"""
  found = subprocess.run(
    ["nohup", sys.executable, "-c", code],
    capture_output=True,
    text=True,
    check=True,
    stdin=subprocess.DEVNULL,
  )
  assert found.stdout == "on\n"
