import random

import pytest

from gen.training import manifest


@pytest.fixture
def sealed(tmp_path):
  (tmp_path / "inner").mkdir()
  (tmp_path / "inner" / "data").write_bytes(bytes(range(256)) * 5)
  (tmp_path / "empty").write_bytes(b"")
  (tmp_path / "text.json").write_text('{"a": 1}')
  manifest.seal(tmp_path)
  return tmp_path


def test_a_sealed_folder_has_no_damage(sealed):
  assert manifest.damages(sealed) == []


def test_any_flipped_bit_in_any_file_is_found_and_named(sealed):
  rng = random.Random(0)
  for path in [sealed / "inner" / "data", sealed / "text.json", sealed / manifest.NAME]:
    before = path.read_bytes()
    for _ in range(40):
      position, bit = rng.randrange(len(before)), rng.randrange(8)
      changed = bytearray(before)
      changed[position] ^= 1 << bit
      path.write_bytes(changed)
      found = manifest.damages(sealed)
      assert found and all(path.relative_to(sealed).as_posix() in clause for clause in found), (position, bit)
    path.write_bytes(before)
  assert manifest.damages(sealed) == []


@pytest.mark.parametrize("name", ["empty", "inner/data", manifest.NAME])
def test_a_missing_file_is_named(sealed, name):
  (sealed / name).unlink()
  assert manifest.damages(sealed) == [f"{name} is missing"]


def test_a_shortened_and_an_added_file_are_named(sealed):
  (sealed / "inner" / "data").write_bytes(b"abc")
  (sealed / "inner" / "more").write_bytes(b"")
  assert manifest.damages(sealed) == [
    "inner/more is not in the manifest",
    "inner/data has 3 bytes instead of 1280",
  ]
