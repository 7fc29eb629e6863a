import os
import signal
import subprocess
import sys
import time

import pytest

from gen.errors import UserError
from gen.io.locks import FolderLock

HOLD = """
import sys, time
from gen.io.locks import FolderLock
with FolderLock(sys.argv[1]):
  print("held", flush=True)
  time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
  process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
  assert process.stdout.readline() == "held\n"
  yield process
  process.kill()
  process.wait()
  process.stdout.close()


def test_the_second_holder_is_told_who_the_first_is(tmp_path, holder):
  with (
    pytest.raises(UserError, match=rf"in use by process {holder.pid} on \S+ since 2\d\d\d-.*{tmp_path}"),
    FolderLock(tmp_path),
  ):
    pass


def test_sigkill_gives_the_lock_back(tmp_path, holder):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  with FolderLock(tmp_path):
    pass


def test_the_same_process_cannot_hold_it_twice(tmp_path):
  with FolderLock(tmp_path), pytest.raises(UserError, match=f"process {os.getpid()} "), FolderLock(tmp_path):
    pass


def test_waiting_outlasts_a_short_holder(tmp_path, holder):
  started = time.monotonic()
  subprocess.Popen([sys.executable, "-c", f"import time, os; time.sleep(0.3); os.kill({holder.pid}, 9)"])
  with FolderLock(tmp_path, wait_seconds=50):
    assert 0.1 < time.monotonic() - started < 45


def test_a_failed_attempt_leaves_the_first_holders_name(tmp_path, holder):
  for _ in range(2):
    with pytest.raises(UserError, match=f"process {holder.pid} "):
      FolderLock(tmp_path).acquire()


@pytest.mark.parametrize("child", ["started", "forked"])
def test_a_child_does_not_keep_the_lock_of_a_dead_parent(tmp_path, child):
  # The parent takes the lock, leaves a child behind and dies without giving anything back.
  start = {
    "started": "child = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL).pid",
    "forked": "child = os.fork()\nif child == 0:\n  os.close(1)\n  time.sleep(60)",
  }[child]
  code = f"""
import os, subprocess, time
from gen.io.locks import FolderLock
lock = FolderLock({str(tmp_path)!r})
lock.acquire()
{start}
print(child, flush=True)
os.kill(os.getpid(), 9)
"""
  done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=300)
  pid = int(done.stdout)
  try:
    os.kill(pid, 0)  # The child lives.
    with FolderLock(tmp_path):
      pass
  finally:
    os.kill(pid, signal.SIGKILL)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match=f"cannot write in {tmp_path}/file/run: Not a directory"):
    FolderLock(tmp_path / "file" / "run").acquire()


def test_release_lets_the_next_one_in_and_may_be_repeated(tmp_path):
  lock = FolderLock(tmp_path / "made" / "here")
  lock.acquire()
  lock.release()
  lock.release()
  with FolderLock(tmp_path / "made" / "here"), pytest.raises(UserError, match="in use"):
    lock.acquire()
