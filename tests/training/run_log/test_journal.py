import json
import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.errors import UserError
from gen.io import strict_json
from gen.training.run_log import journal
from gen.training.run_log.journal import Journal, TensorBoard

VALUES = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
  lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
  max_leaves=6,
)


def _refuse(name):
  raise ValueError(f"{name} is not strict JSON")


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_every_row_is_one_line_of_strict_json(row):
  line = strict_json.encode_json(row)
  assert line.count(b"\n") == 1 and line.endswith(b"\n")
  assert json.loads(line, parse_constant=_refuse).keys() == row.keys()


def test_numbers_of_numpy_and_jax_become_numbers():
  row = {"a": np.float32(0.5), "b": np.int64(3), "c": jnp.float32(2), "d": np.arange(2), "e": np.bool_(True)}
  row |= {"f": (1, np.nan), "g": float("inf"), "h": jnp.bfloat16(1.5)}
  assert json.loads(strict_json.encode_json(row)) == {
    "a": 0.5, "b": 3, "c": 2.0, "d": [0, 1], "e": True, "f": [1, None], "g": None, "h": 1.5,
  }  # fmt: skip


def test_a_value_that_json_cannot_hold_is_refused_and_nothing_is_written(tmp_path):
  with Journal(tmp_path / "j") as rows:
    with pytest.raises(TypeError, match="object"):
      rows.append({"a": object()})
    rows.append({"b": 1})
  assert journal.read_journal(tmp_path / "j") == [{"b": 1}]


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 90))
def test_a_tear_anywhere_costs_only_the_torn_row(tmp_path_factory, cut):
  path = tmp_path_factory.mktemp("torn") / "journal.jsonl"
  rows = [{"kind": "train", "step": step, "text": "é\n"} for step in range(3)]
  with Journal(path) as out:
    for row in rows:
      out.append(row)
  content = path.read_bytes()
  path.write_bytes(content[:cut])
  whole = content[:cut].count(b"\n")
  assert journal.read_journal(path) == rows[:whole]
  with Journal(path) as out:
    out.append({"after": True})
  assert journal.read_journal(path) == [*rows[:whole], {"after": True}]


def test_a_torn_line_longer_than_a_block_is_cut_off(tmp_path):
  path = tmp_path / "j"
  path.write_bytes(b'{"a": 1}\n{"b": "' + b"x" * 200_000)
  with Journal(path) as out:
    out.append({"c": 3})
  assert journal.read_journal(path) == [{"a": 1}, {"c": 3}]


def test_rows_written_before_sigkill_are_there(tmp_path):
  code = f"""
import os
from gen.training.run_log.journal import Journal
rows = Journal({str(tmp_path / "j")!r})
for step in range(7):
  rows.append({{"step": step}})
os.kill(os.getpid(), {signal.SIGKILL.value})
"""
  assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
  assert journal.read_journal(tmp_path / "j") == [{"step": step} for step in range(7)]


def test_a_broken_row_in_the_middle_is_named_by_its_line(tmp_path):
  path = tmp_path / "j"
  path.write_text('{"a": 1}\n{"b": \n{"c": 1}\n')
  with pytest.raises(UserError, match=f"line 2 of {path}"):
    journal.read_journal(path)
  path.write_text('{"a": 1}\n{"b": 1}\n[3]\n{"c": 1}\n')
  with pytest.raises(UserError, match="line 3 "):
    journal.read_journal(path)


def test_no_file_reads_as_no_rows(tmp_path):
  assert journal.read_journal(tmp_path / "none") == []


def test_rewind_drops_what_the_resumed_run_writes_again_and_nothing_else(tmp_path):
  rows = [
    {"kind": "start"},
    *({"kind": "train", "run": "x", "step": step} for step in (1, 2, 3)),
    {"kind": "evaluation", "run": "x", "step": 3},
    {"kind": "train", "run": "y", "step": 9},
    {"kind": "result", "run": "z", "step": 9},
  ]
  with Journal(tmp_path / "j") as out:
    for row in rows:
      out.append(row)
    assert out.rewind(2, run="x") == 2
    out.append({"kind": "train", "run": "x", "step": 3})
    again = {"kind": "train", "run": "x", "step": 3}
    assert journal.read_journal(tmp_path / "j") == [*rows[:3], *rows[5:], again]
    assert out.rewind(2) == 2
    assert journal.read_journal(tmp_path / "j") == [*rows[:3], rows[6]]
    assert out.rewind(2) == 0
  assert list(tmp_path.iterdir()) == [tmp_path / "j"]


def test_a_rewind_that_fails_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
  with Journal(tmp_path / "j") as out:
    out.append({"kind": "train", "step": 5})
    with monkeypatch.context() as patched:
      patched.setattr(os, "fsync", _no_space)
      with pytest.raises(UserError, match="No space left"):
        out.rewind(1)
    assert journal.read_journal(tmp_path / "j") == [{"kind": "train", "step": 5}]
  assert list(tmp_path.iterdir()) == [tmp_path / "j"]


def test_a_full_disk_is_one_sentence_and_leaves_whole_rows(tmp_path, monkeypatch):
  path, write = tmp_path / "j", os.write
  room = [40]

  def write_while_there_is_room(descriptor, data):
    if not room[0]:
      _no_space()
    written = write(descriptor, data[: room[0]])
    room[0] -= written
    return written

  with Journal(path) as out:
    out.append({"step": 1})
    with monkeypatch.context() as patched:
      patched.setattr(os, "write", write_while_there_is_room)
      with pytest.raises(UserError, match=f"cannot write the journal {path}: No space left"):
        out.append({"step": 2, "text": "x" * 100})
    out.append({"step": 3})
  assert journal.read_journal(path) == [{"step": 1}, {"step": 3}]


def test_an_unwritable_journal_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match=r"cannot write the journal .*file/j"):
    Journal(tmp_path / "file" / "j")


def test_tensorboard_receives_the_measured_numbers(tmp_path):
  from tensorboardX.proto import event_pb2

  mirror = TensorBoard(tmp_path)
  mirror.append({"kind": "start", "config": {}})
  mirror.append(
    {
      "kind": "train",
      "time": 1.0,
      "run": "x",
      "step": 7,
      "loss": np.float32(2.5),
      "bad": float("nan"),
      "corpora": {"law": {"loss": 3.5}},
    }
  )
  mirror.close()
  (file,) = tmp_path.iterdir()
  content, found = file.read_bytes(), []
  while content:  # Records: 8 bytes of length, 4 of checksum, the event, 4 of checksum.
    length = int.from_bytes(content[:8], "little")
    event = event_pb2.Event.FromString(content[12 : 12 + length])
    found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    content = content[12 + length + 4 :]
  assert found == [(7, "train/loss", 2.5), (7, "train/law/loss", 3.5)]


def _no_space(*_):
  raise OSError(28, "No space left on device")
