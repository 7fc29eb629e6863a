import importlib.util
import zipfile
from pathlib import Path

import pytest

from gen.data.sources.python_packages import manifests, packages
from gen.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
  spec = importlib.util.spec_from_file_location("corpus_manifest", ROOT / "scripts" / "corpus_manifest.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_tables_of_the_page_are_those_of_the_manifests(script):
  page = (ROOT / "docs" / "data.md").read_text()
  assert script.write_tables(page) == page, "run scripts/corpus_manifest.py --write=docs/data.md"


def test_a_page_without_marks_is_refused(script):
  with pytest.raises(UserError, match="lacks the lines"):
    script.write_tables("a page")


def test_an_update_fills_in_what_an_archive_gives_and_keeps_the_rest(script, tmp_path, monkeypatch):
  wheel = tmp_path / "poems-1.0-py3-none-any.whl"
  with zipfile.ZipFile(wheel, "w") as archive:
    archive.writestr("one.txt", "é" * 300)
    archive.writestr("two.txt", "short")
  fetched = packages.Wheel(wheel, "0" * 64, 1234)
  monkeypatch.setattr(packages, "fetch_wheel", lambda root, archive, report: fetched)
  path = tmp_path / "poems.toml"
  path.write_text(
    'about = "poems"  # kept\n\n[[archives]]\nname = "poems"\nversion = "1.0"\nsize = 7\n'
    f'file = "{wheel.name}"\nsha256 = "{"0" * 64}"\nreads = [{{members = "*.txt"}}]\n'
  )
  path.write_text(script.update_manifest(path, tmp_path))
  (archive,) = manifests.read_manifest(path).archives
  assert (archive.size, archive.documents, archive.text_bytes) == (1234, 1, 600)
  assert path.read_text().startswith('about = "poems"  # kept\n\n[[archives]]\nname = "poems"\n')
  assert path.read_text() == script.update_manifest(path, tmp_path)
  assert len(list(packages.read_wheel(archive, fetched))) == 1  # with the hash that was filled in
