import random

import pytest

from gen.io import checksums


@pytest.fixture
def sealed(tmp_path):
  (tmp_path / "inner").mkdir()
  (tmp_path / "inner" / "data").write_bytes(bytes(range(256)) * 5)
  (tmp_path / "empty").write_bytes(b"")
  (tmp_path / "text.json").write_text('{"a": 1}')
  checksums.seal_folder(tmp_path)
  return tmp_path


def test_a_sealed_folder_has_no_damage(sealed):
  assert checksums.find_damages(sealed) == []


def test_any_flipped_bit_in_any_file_is_found_and_named(sealed):
  rng = random.Random(0)
  for path in [sealed / "inner" / "data", sealed / "text.json", sealed / checksums.NAME]:
    before = path.read_bytes()
    for _ in range(40):
      position, bit = rng.randrange(len(before)), rng.randrange(8)
      changed = bytearray(before)
      changed[position] ^= 1 << bit
      path.write_bytes(changed)
      found = checksums.find_damages(sealed)
      assert found and all(path.relative_to(sealed).as_posix() in clause for clause in found), (position, bit)
    path.write_bytes(before)
  assert checksums.find_damages(sealed) == []


@pytest.mark.parametrize("name", ["empty", "inner/data", checksums.NAME])
def test_a_missing_file_is_named(sealed, name):
  (sealed / name).unlink()
  assert checksums.find_damages(sealed) == [f"{name} is missing"]


def test_a_shortened_file_is_damage_and_an_added_one_is_a_stray(sealed):
  (sealed / "inner" / "more").write_bytes(b"")
  assert checksums.find_damages(sealed) == [] and checksums.find_strays(sealed) == ["inner/more"]
  (sealed / "inner" / "data").write_bytes(b"abc")
  assert checksums.find_damages(sealed) == ["inner/data has 3 bytes instead of 1280"]


@pytest.mark.parametrize(
  "name", [".DS_Store", "._data", ".nfs00000001", "Thumbs.db", "data~", ".data.swp", "#data#", ".#data"]
)
def test_litter_that_comes_while_a_checkpoint_is_written_may_go_again(tmp_path, name):
  (tmp_path / "inner").mkdir()
  (tmp_path / "inner" / "data").write_bytes(b"abc")
  (tmp_path / "inner" / name).write_bytes(b"x")
  checksums.seal_folder(tmp_path)
  assert checksums.find_strays(tmp_path) == [f"inner/{name}"]
  (tmp_path / "inner" / name).unlink()
  assert checksums.find_damages(tmp_path) == checksums.find_strays(tmp_path) == []
