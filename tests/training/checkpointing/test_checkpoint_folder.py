"""What a folder of checkpoints says of itself without jax."""

import json
import shutil

import pytest

from gen.errors import UserError
from gen.io import checksums
from gen.training.checkpointing import checkpoint_folder
from tests import mutations

MISSING, EXTRA, UNLIKE = 13, 12, 14


def tree(**leaves):
  return {name: {"shape": shape, "dtype": "float32"} for name, shape in leaves.items()}


def named(stem, count, shape):
  return {f"{stem}{n}": shape for n in range(count)}


def test_each_kind_of_difference_is_shortened_and_counted_on_its_own():
  saved = tree(**named("old", EXTRA, [2]), **named("kept", UNLIKE, [2]), same=[5])
  wanted = tree(**named("new", MISSING, [4]), **named("kept", UNLIKE, [3]), same=[5])
  lines = checkpoint_folder.tree_differences(saved, wanted)
  most = checkpoint_folder.MAX_LINES
  assert lines == [
    *(f"missing from the checkpoint: new{n} float32[4]" for n in range(most)),
    f"and {MISSING - most} more missing",
    *(f"extra in the checkpoint: old{n} float32[2]" for n in range(most)),
    f"and {EXTRA - most} more extra",
    *(f"different: kept{n} is float32[2] in the checkpoint, float32[3] here" for n in range(most)),
    f"and {UNLIKE - most} more different",
  ]


@pytest.mark.parametrize("count", [0, 1, checkpoint_folder.MAX_LINES])
def test_few_differences_are_all_told_without_a_count(count):
  lines = checkpoint_folder.tree_differences({}, tree(**named("new", count, [2, 3])))
  assert lines == [f"missing from the checkpoint: new{n} float32[2,3]" for n in range(count)]


@pytest.fixture
def saved(tmp_path):
  path = tmp_path / "000000007"
  (path / "state").mkdir(parents=True)
  (path / "state" / "array").write_bytes(b"12345")
  record = {"step": 7, "saved": 1.5, "bytes": 5, "meta": {"config": {"seed": 3}}, "tree": tree(kernel=[0, 3])}
  (path / "meta.json").write_text(json.dumps(record))
  checksums.seal_folder(path)
  return tmp_path


@pytest.mark.parametrize("name", ["meta.json", "manifest.json"])
def test_no_damage_of_meta_or_manifest_gives_another_record(fuzz, saved, name):
  path = saved / "000000007" / name
  content, record = path.read_bytes(), checkpoint_folder.read_record(saved, 7)
  for said, damaged in fuzz.cases(lambda rng: mutations.mixed(content, rng)):
    path.unlink(missing_ok=True)
    if damaged is not None:
      path.write_bytes(damaged)
    assert checkpoint_folder.find_damages(saved, 7) or damaged == content, said
    try:
      assert checkpoint_folder.read_record(saved, 7) == record, said
    except UserError as error:
      assert "\n" not in str(error) and name in str(error), said


def test_a_sealed_record_of_other_types_is_one_sentence(fuzz, saved):
  path = saved / "000000007"
  record = json.loads((path / "meta.json").read_text())
  for _, changed in fuzz.cases(lambda rng: mutations.of_value(record, rng, 9)):
    (path / "meta.json").write_text(json.dumps(changed))
    checksums.seal_folder(path)
    try:
      assert checkpoint_folder.read_record(saved, 7).keys() == record.keys()
    except UserError as error:
      assert "\n" not in str(error) and "meta.json" in str(error)


def test_a_step_in_the_folder_of_another_is_damage(saved):
  shutil.copytree(saved / "000000007", saved / "000000009")
  assert checkpoint_folder.find_damages(saved, 7) == []
  assert "is of step 7" in checkpoint_folder.find_damages(saved, 9)[0]
