"""A source archive is fetched as a file: its SHA-256 is checked, and nothing of it runs."""

import hashlib
import io
import tarfile

import pytest

from gen.data.sources.python_packages import packages, source_archive_client
from gen.data.sources.python_packages.manifests import Archive
from gen.errors import UserError


def publish(index, members):
  """Publishes poems-1.0.tar.gz with these members; returns its SHA-256."""
  folder = index.folder / "simple" / "poems"
  folder.mkdir(parents=True)
  path = folder / "poems-1.0.tar.gz"
  with tarfile.open(path, "w:gz") as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(f"poems-1.0/{name}")
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content.encode()))
  sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
  (folder / "index.html").write_text(f'<a href="{path.name}#sha256={sha256}">{path.name}</a>')
  return sha256


def test_a_source_archive_is_saved_as_it_is_and_nothing_of_it_runs(index, tmp_path):
  ran = tmp_path / "ran"
  code = f"open({str(ran)!r}, 'w').close()\n"
  sha256 = publish(
    index, {"setup.py": code, "poems.py": code, "PKG-INFO": "Metadata-Version: 1.1\n", "one.txt": "a"}
  )
  archive = Archive("poems", "1.0", (), "poems-1.0.tar.gz", sha256)
  fetched = packages.fetch_wheel(tmp_path / "cache", archive)
  assert fetched.sha256 == sha256 and fetched.path.name == "poems-1.0.tar.gz"
  assert sorted(each.name for each in fetched.path.parent.iterdir()) == ["manifest.json", "poems-1.0.tar.gz"]
  assert not ran.exists()


def test_a_source_archive_of_other_bytes_is_refused(index, tmp_path):
  publish(index, {"setup.py": ""})
  with pytest.raises(
    UserError, match=r"poems==1\.0: the index holds another archive than the manifest lists"
  ):
    source_archive_client.download_source("poems", "1.0", tmp_path, "0" * 64)
