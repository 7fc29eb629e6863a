import json
import multiprocessing
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gen.config import Data
from gen.data import cache
from gen.errors import UserError
from tests import mutations


def write(text):
  def build(folder: Path):
    (folder / "text").write_text(text)
    return {"length": len(text)}

  return build


def refuse(folder: Path):
  raise AssertionError("built although it was there")


def test_an_entry_is_built_once_and_then_found(tmp_path):
  first = cache.find_or_build(tmp_path, "a", write("seven"))
  second = cache.find_or_build(tmp_path, "a", refuse)
  assert (first.existed, second.existed) == (False, True)
  assert first.meta == second.meta == {"length": 5}
  assert (second.path / "text").read_text() == "seven"


@pytest.mark.parametrize("damage", ["change", "cut", "remove", "manifest"])
def test_a_damaged_entry_is_built_again(tmp_path, damage):
  path = cache.find_or_build(tmp_path, "a", write("seven")).path
  if damage == "remove":
    (path / "text").unlink()
  elif damage == "manifest":
    (path / cache.MANIFEST).write_text("{")
  else:
    (path / "text").write_text({"change": "sevem", "cut": "seve"}[damage])
  again = cache.find_or_build(tmp_path, "a", write("seven"))
  assert not again.existed
  assert (path / "text").read_text() == "seven"
  assert cache.find_or_build(tmp_path, "a", refuse).existed


def test_no_damage_of_the_manifest_changes_what_an_entry_holds(fuzz, tmp_path):
  entry = cache.find_or_build(tmp_path, "a", write("seven"))
  manifest = entry.path / cache.MANIFEST
  content = manifest.read_bytes()
  for name, damaged in fuzz.cases(lambda rng: mutations.mixed(content, rng)):
    manifest.unlink(missing_ok=True)
    if damaged is not None:
      manifest.write_bytes(damaged)
    again = cache.find_or_build(tmp_path, "a", write("seven"))
    assert again.meta == entry.meta, name
    assert again.existed == (damaged == content), name
    assert manifest.read_bytes() == content, name


def test_a_builder_that_fails_leaves_nothing(tmp_path):
  def fail(folder: Path):
    (folder / "half").write_text("x")
    raise UserError("no")

  with pytest.raises(UserError, match="no"):
    cache.find_or_build(tmp_path, "a", fail)
  assert [path.name for path in tmp_path.iterdir()] == [".a.lock"]


def test_what_a_killed_builder_left_is_swept_away(tmp_path):
  left = tmp_path / ".a.unfinished"
  left.mkdir()
  (left / "half").write_text("x")
  path = cache.find_or_build(tmp_path, "a", write("seven")).path
  assert not left.exists()
  assert sorted(file.name for file in path.iterdir()) == [cache.MANIFEST, "text"]


def count_builds(root, counter):
  def build(folder: Path):
    with counter.get_lock():
      counter.value += 1
    return write("seven")(folder)

  for name in ("a", "b"):
    assert cache.find_or_build(root, name, build).meta == {"length": 5}


def test_of_several_processes_one_builds_and_the_others_find(tmp_path):
  context = multiprocessing.get_context("spawn")
  counter = context.Value("i", 0)
  processes = [context.Process(target=count_builds, args=(tmp_path, counter)) for _ in range(4)]
  for process in processes:
    process.start()
  for process in processes:
    process.join()
  assert [process.exitcode for process in processes] == [0] * 4
  assert counter.value == 2


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(tmp_path):
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(UserError, match=r"cannot be written: .*--config\.data\.cache"):
    cache.find_or_build(tmp_path / "file" / "deeper", "a", write("x"))
  with pytest.raises(UserError, match="cannot be written"):
    cache.find_or_build(tmp_path / "file", "a", write("x"))


def test_an_entry_of_a_folder_that_cannot_be_written_is_still_read(tmp_path):
  cache.find_or_build(tmp_path, "a", write("seven"))
  (tmp_path / ".a.lock").unlink()
  tmp_path.chmod(0o500)
  try:
    assert cache.find_or_build(tmp_path, "a", refuse).existed
  finally:
    tmp_path.chmod(0o700)
  assert not (tmp_path / ".a.lock").exists()


FULL = """
import resource, sys
from pathlib import Path
from gen.config import Data
from gen.data import dataset
from gen.errors import UserError
from tests import mutations
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
  dataset.load_dataset(Data(corpus=sys.argv[1], cache=sys.argv[2]))
except UserError as error:
  print(error)
"""


def test_a_full_disk_is_said_in_one_sentence_and_leaves_no_half_entry(tmp_path):
  assert hasattr(resource, "RLIMIT_FSIZE")
  (tmp_path / "text.txt").write_text("all work and no play\n" * 20_000)
  folder = tmp_path / "cache"
  done = subprocess.run(
    [sys.executable, "-c", FULL, str(tmp_path / "text.txt"), str(folder)],
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.startswith(f"no space left to cache data in {folder}: ")
  assert done.stdout.count("\n") == 1
  assert not [path for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_the_folder_is_the_configs_or_the_environments_or_the_homes(monkeypatch, tmp_path):
  monkeypatch.setenv("GEN_CACHE", str(tmp_path / "environment"))
  assert cache.cache_folder(Data(cache=str(tmp_path / "config"))) == tmp_path / "config"
  assert cache.cache_folder(Data()) == tmp_path / "environment"
  monkeypatch.delenv("GEN_CACHE")
  assert cache.cache_folder(Data()) == Path("~/.cache/gen").expanduser()


def test_keys_tell_parts_apart():
  assert cache.cache_key("a", "b") != cache.cache_key("ab") != cache.cache_key(["a", "b"])
  assert cache.cache_key({"x": 1, "y": 2}) == cache.cache_key(json.loads('{"y": 2, "x": 1}'))
