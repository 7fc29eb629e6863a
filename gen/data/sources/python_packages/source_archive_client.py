"""Fetches a pinned source archive as a file, with the user's package client, and runs nothing of it.

A client asks a source archive for its metadata, which runs the archive's build. pip asks the build backend that is on
its path when build isolation is off. `gen` puts a backend of its own there, which answers with the name and version
that are known already. The archive is named by its SHA-256, so it is one that declares no backend of its own.
"""

import os
from pathlib import Path

from gen.data.sources.python_packages import package_client

_BACKEND = """
import os
import pathlib


class _Backend:
  def get_requires_for_build_wheel(self, config_settings=None):
    return []

  def prepare_metadata_for_build_wheel(self, metadata_directory, config_settings=None):
    name, version = os.environ["GEN_SOURCE_ARCHIVE"].split("==")
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    path = pathlib.Path(metadata_directory, folder)
    path.mkdir()
    (path / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return folder


__legacy__ = _Backend()
"""


def download_source(name: str, version: str, folder: Path, sha256: str) -> Path:
  """Downloads one source archive into an empty folder.

  Args:
    name: of the package.
    version: exact.
    folder: receives the archive and nothing else.
    sha256: of the archive, which must declare no build backend; the client refuses any other.

  Raises:
    UserError: if there is no client, no index answers, or the index has no such archive or another one.
  """
  backend = folder / "backend" / "setuptools"
  backend.mkdir(parents=True)
  (backend / "__init__.py").write_text("")
  (backend / "build_meta.py").write_text(_BACKEND)
  others = os.environ.get("PYTHONPATH", "")
  variables = {
    "PYTHONPATH": str(backend.parent) + (os.pathsep + others if others else ""),
    "GEN_SOURCE_ARCHIVE": f"{name}=={version}",
  }
  flags = ("--no-binary=:all:", "--use-pep517", "--no-build-isolation")
  return package_client.download_archive(name, version, folder, flags, "*.tar.gz", sha256, variables)
