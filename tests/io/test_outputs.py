import os

import pytest

from gen.io import outputs


@pytest.mark.parametrize(
  ("path", "clause"),
  [
    ("there", "is a folder"),
    ("missing/x.json", "does not exist; create that folder first"),
    ("file/x.json", "which is a file"),
    ("new/", "ends like a folder"),
    ("a" * 5_000, "is not a valid path: File name too long"),
    ("a\0b", "is not a valid path"),
    ("x.txt", "must end in .png or .pdf"),
  ],
)
def test_a_file_that_cannot_be_written_is_one_clause(tmp_path, monkeypatch, path, clause):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "there").mkdir()
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match=clause) as error:
    outputs.check_file(path, (".png", ".pdf") if path == "x.txt" else ())
  assert "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize(
  ("path", "clause"), [("file", "is a file"), ("file/a/b", "is a file"), ("b" * 300, "is not a valid path")]
)
def test_a_folder_that_cannot_be_made_is_one_clause(tmp_path, monkeypatch, path, clause):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match=clause):
    outputs.check_folder(path)


def test_what_can_be_written_passes_and_nothing_is_made(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for path in ("", "-", "x.json", "/dev/null", str(tmp_path / "y.json")):
    outputs.check_file(path)
  for path in ("", "a/b/c", "[x]", str(tmp_path)):
    outputs.check_folder(path)
  assert not list(tmp_path.iterdir())


def test_a_place_without_the_right_to_write_is_said(tmp_path, monkeypatch):
  monkeypatch.setattr(os, "access", lambda *_: False)
  with pytest.raises(ValueError, match=r"is not writable"):
    outputs.check_file(str(tmp_path / "x.json"))
  with pytest.raises(ValueError, match=r"is not writable"):
    outputs.check_folder(str(tmp_path / "x"))
