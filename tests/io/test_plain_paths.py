"""Folders with any name hold checkpoints like others, and a save counts only once it was read back."""

import os
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from gen.errors import UserError
from gen.io import checksums, plain_paths
from gen.training.checkpointing import checkpoint_folder, stored_arrays
from gen.training.checkpointing.checkpoints import Checkpoints

NAMES = [
  "width=[16,64]",
  "[!a]",
  "a*b",
  "**",
  "a?b",
  "{a,b}",
  "a\\b",
  "\\[a\\]",
  "a b",
  "a\nb",
  "a%2Fb",
  "~",
  "$HOME",
  "-a",
  ".a",
  "a#b",
  "größe",
  "长",
  os.fsdecode(b"\xff\xfe"),
]


def _state(step: int):
  return {"kernel": jnp.arange(6.0).reshape(2, 3) * step, "count": np.int64(step), "none": jnp.zeros((0, 4))}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_folder_of_any_name_saves_and_restores(tmp_path, name):
  folder = tmp_path / name / "run"
  with Checkpoints(folder, keep=3) as checkpoints:
    for step in (1, 2, 2):
      checkpoints.save(step, _state(step), {"name": name})
  with Checkpoints(folder) as checkpoints:
    state, meta = checkpoints.restore(_state(0))
  assert meta["name"] == name and state["count"] == 2
  np.testing.assert_array_equal(state["kernel"], _state(2)["kernel"])
  assert [checkpoint_folder.find_damages(folder, step) for step in (1, 2)] == [[], []]
  np.testing.assert_array_equal(checkpoint_folder.read_array(folder, 1, "kernel"), _state(1)["kernel"])


def test_a_pattern_in_a_path_does_not_reach_a_neighbour(tmp_path):
  for name, step in (("axb", 3), ("a*b", 5)):
    with Checkpoints(tmp_path / name) as checkpoints:
      checkpoints.save(1, _state(step), {})
  with Checkpoints(tmp_path / "a*b") as checkpoints:
    assert checkpoints.restore(_state(0))[0]["count"] == 5


def test_no_descriptor_stays_open(tmp_path):
  def count():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

  with Checkpoints(tmp_path / "a*b") as checkpoints:
    checkpoints.save(1, _state(1), {})
    checkpoints.wait()
    before = count()
    for step in (2, 3, 4):
      checkpoints.save(step, _state(step), {})
      checkpoints.wait()
      checkpoints.restore(_state(0))
    assert count() <= before


def test_without_proc_a_link_leads_to_the_folder_and_is_gone_afterwards(tmp_path, monkeypatch):
  (tmp_path / "links").mkdir()
  monkeypatch.setattr(plain_paths, "DESCRIPTORS", tmp_path / "none")
  monkeypatch.setattr(plain_paths.tempfile, "tempdir", str(tmp_path / "links"))
  with Checkpoints(tmp_path / "a[b]") as checkpoints:
    checkpoints.save(1, _state(1), {})
    assert checkpoints.restore(_state(0))[0]["count"] == 1
  assert not any((tmp_path / "links").iterdir())


def test_a_folder_to_which_nothing_leads_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
  (tmp_path / "links [1]").mkdir()
  monkeypatch.setattr(plain_paths, "DESCRIPTORS", tmp_path / "none")
  monkeypatch.setattr(plain_paths.tempfile, "tempdir", str(tmp_path / "links [1]"))
  Checkpoints(tmp_path / "plain").close()
  with pytest.raises(UserError, match=r"cannot be saved in .*a\[b\].*set TMPDIR") as caught:
    Checkpoints(tmp_path / "a[b]")
  assert "\n" not in str(caught.value)


def test_a_save_whose_arrays_do_not_read_back_does_not_count(tmp_path, monkeypatch):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, _state(1), {})
    checkpoints.wait()
    write = checkpoints._write
    for fault in (_lose_index, _swap_values):
      monkeypatch.setattr(
        checkpoints, "_write", lambda *words, fault=fault: fault(checkpoints, write, *words)
      )
      checkpoints.save(2, _state(2), {})
      with pytest.raises(
        UserError, match=r"step 2 .*cannot be read back: .*arrays? .*complete checkpoint is step 1"
      ):
        checkpoints.wait()
      assert checkpoints.steps() == [1]


def _lose_index(checkpoints, write, partial: Path, arrays):
  write(partial, arrays)
  checkpoints._checkpointer.wait_until_finished()
  for path in (partial / "state").glob("manifest.ocdbt"):
    path.unlink()


def _swap_values(checkpoints, write, partial: Path, arrays):
  write(partial, arrays | {"kernel": arrays["kernel"] + 1})


def test_a_step_without_its_arrays_is_damaged_though_every_file_is_as_it_was_sealed(tmp_path):
  with Checkpoints(tmp_path, keep=3) as checkpoints:
    for step in (1, 2):
      checkpoints.save(step, _state(step), {})
  state = tmp_path / "000000002" / "state"
  (state / "manifest.ocdbt").unlink()  # as orbax left steps in a folder that it could not glob
  checksums.seal_folder(tmp_path / "000000002")
  found = checkpoint_folder.find_damages(tmp_path, 2)
  assert found == ["2 of its 2 arrays are missing (count, kernel)"]
  with Checkpoints(tmp_path) as checkpoints:
    with pytest.raises(UserError, match="2 arrays are missing"):
      checkpoints.restore(_state(0))
    assert checkpoints.restore(_state(0), fall_back=True)[1]["step"] == 1


def test_an_array_of_another_type_or_shape_is_named(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, _state(1), {})
  tree = {"kernel": {"shape": [3, 2], "dtype": "float32"}, "count": {"shape": [], "dtype": "int32"}}
  assert stored_arrays.array_faults(tmp_path / "000000001" / "state", tree) == [
    "array kernel is float32[2, 3] instead of float32[3, 2]",
    "array count is int64[] instead of int32[]",
  ]


def test_stray_files_are_named_and_read_past(tmp_path):
  folder = tmp_path / "saved"
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(1, _state(1), {})
  for name in (".DS_Store", "state/.nfs0001", "state/d/._x", "state/Thumbs.db", "meta.json~", "._meta.json"):
    (folder / "000000001" / name).parent.mkdir(exist_ok=True)
    (folder / "000000001" / name).write_bytes(b"\0\xff")
  for name in (".DS_Store", "notes.old", "000000007", "b.partial"):
    (folder / name).write_bytes(b"\0")
  (folder / "copies.old").mkdir()
  reports = []
  with Checkpoints(folder, report=reports.append) as checkpoints:
    state, _ = checkpoints.restore(_state(0))
    checkpoints.save(2, state, {})
    assert checkpoints.steps() == [1, 2]
  assert len(reports) == 1 and ".DS_Store, ._meta.json, meta.json~, state/.nfs0001" in reports[0]
  assert (folder / "notes.old").is_file() and (folder / "copies.old").is_dir()


def test_where_all_steps_are_damaged_the_sentence_names_the_way_out(tmp_path):
  with Checkpoints(tmp_path / "saved", keep=3, report=lambda _: None) as checkpoints:
    for step in (1, 2, 3):
      checkpoints.save(step, _state(step), {})
    for step in checkpoints.steps():
      (tmp_path / "saved" / f"{step:09d}" / "meta.json").unlink()
    with pytest.raises(
      UserError, match=r"no earlier one: put a copy of it back, or delete .*saved and train"
    ):
      checkpoints.restore(_state(0), fall_back=True)
    shutil.rmtree(tmp_path / "saved")
    assert checkpoints.latest() is None
