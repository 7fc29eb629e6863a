"""The folder of a curation as a corpus: its shards, checked against the manifest, which is part of what a corpus is."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from gen.data.sources.file_formats import files
from gen.errors import UserError
from gen.io import formats, json_reading

MANIFEST = "manifest.json"
KIND = "curated corpus"
VERSION = 1  # of the manifest
_REMEDY = "make it again with experiments/curate.py"


class CuratedFolder(NamedTuple):
  """A complete curation.

  Attributes:
    files: (name, path) of its shards.
    sha256: of the manifest.
    notes: lines about stages and licences.
  """

  files: list[tuple[str, Path]]
  sha256: str
  notes: list[str]


def open_curated(name: str) -> CuratedFolder | None:
  """Returns the shards of a curated folder; None for anything else.

  Raises:
    UserError: if it is one, and a shard is missing or was changed.
  """
  folder = Path(name).expanduser()
  manifest = _read_manifest(folder / MANIFEST)
  if manifest is None:
    return None
  formats.without_format(manifest, VERSION, str(folder / MANIFEST), _REMEDY)
  try:
    shards = [(entry["name"], folder / entry["name"], entry["sha256"]) for entry in manifest["files"]]
    licence = manifest["identity"]["licence"]
    stages = ", ".join(stage["name"] for stage in manifest["stages"])
  except (KeyError, TypeError):
    raise UserError(f"{folder / MANIFEST} is damaged; {_REMEDY}") from None
  found = files.fingerprint_files([(shard, path) for shard, path, _ in shards])
  for (shard, _, expected), (_, sha256) in zip(shards, found, strict=True):
    if sha256 != expected:
      raise UserError(f"{folder / shard} has changed since it was curated (SHA-256 differs); {_REMEDY}")
  digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
  notes = [f"curated by {stages}; manifest {digest[:12]}", *([f"licence: {licence}"] if licence else [])]
  return CuratedFolder([(shard, path) for shard, path, _ in shards], digest, notes)


def _read_manifest(path: Path) -> dict[str, Any] | None:
  """Returns the manifest of a curation; None if there is none, or it is another file of that name."""
  try:
    if not path.is_file():
      return None
    manifest = json_reading.read_json(path)
  except (UserError, OSError, ValueError):
    return None
  return manifest if manifest.get("kind") == KIND else None
