"""The folder that a curation writes: shards of text, a manifest, a table of drops, and a report."""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import zstandard

from gen import versions
from gen.data.curation import inputs, reading, report
from gen.data.curation.passes import shard_work, shards
from gen.data.curation.passes.shard_work import Work
from gen.data.curation.passes.tallies import TallyRecord
from gen.data.curation.result_records import (
  FileRecord,
  IdentityRecord,
  ManifestRecord,
  ReportRecord,
  StageCounts,
)
from gen.data.sources import curated
from gen.errors import UserError
from gen.io import checksums, json_reading

LEVEL = 3  # of Zstandard: the library's own default, near the speed of a disk
# Bytes of text of one shard of the result; chosen: one shard a worker, each read in about a second.
SHARD = 64 << 20
Finished = tuple[ManifestRecord, list[TallyRecord], ReportRecord]


def read_finished(folder: Path, identity: IdentityRecord, remedy: str) -> Finished | None:
  """Returns manifest, stages and report of a complete folder; None if it is not complete.

  Raises:
    UserError: if it is the result of another curation.
  """
  if not (folder / curated.MANIFEST).is_file():
    return None
  manifest = json_reading.read_json(folder / curated.MANIFEST)
  before = manifest.get("identity", {})
  changed = [name for name, value in identity.items() if before.get(name) != value]
  if changed:
    raise UserError(f"{folder} holds the result of a curation with other {' and '.join(changed)}; {remedy}")
  described = json_reading.read_json(folder / "report.json")
  return manifest, described["stages"], described


def write_output(
  folder: Path,
  work: Work,
  count: int,
  stages: Sequence[TallyRecord],
  identity: IdentityRecord,
  reader: reading.Reader,
  found: inputs.StageInputs,
) -> Finished:
  """Writes the result of a curation; the manifest comes last, so a folder with one is complete.

  Raises:
    UserError: if a file cannot be written.
  """
  files = _write_texts(folder, work.folder(len(work.passes) - 1), count)
  for name, path in found.models.items():
    if path.parent == work.root:  # trained in this run
      checksums.write_atomically(folder / "classifiers" / f"{name}.npz", path.read_bytes())
  _write_drops(folder / "drops.jsonl", work, count)
  manifest = ManifestRecord(
    format=curated.VERSION,
    kind=curated.KIND,
    identity=identity,
    stages=[
      StageCounts(
        {"name": tally["name"], "in": tally["in"], "out": tally["out"], "reasons": tally["reasons"]}
      )
      for tally in stages
    ],
    files=files,
    notes=[*reader.note_lines, *found.notes],
    skipped=reader.fault_records,
    versions=versions.installed_versions(report.PACKAGES),
  )
  described = report.make_report(manifest, stages)
  checksums.write_atomically(
    folder / "report.json", json.dumps(described, ensure_ascii=False, indent=1).encode()
  )
  try:
    report.write_page(folder / "report.html", described)
  except OSError as error:
    raise shards.no_space(folder / "report.html", error) from error
  checksums.write_atomically(
    folder / curated.MANIFEST, (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode()
  )
  return manifest, list(stages), described


def _write_texts(folder: Path, last: Path, count: int) -> list[FileRecord]:
  """Writes the shards of the result; returns name, bytes, SHA-256, and documents of each."""
  try:
    (folder / "shards").mkdir(exist_ok=True)
  except OSError as error:
    raise shards.no_space(folder / "shards", error) from error
  files: list[FileRecord] = []
  lines = _lines(last, count)
  pending: bytes | None = next(lines, None)
  while pending is not None:
    path = folder / "shards" / f"{len(files):05d}.jsonl.zst"
    documents = length = 0
    partial = path.with_name(path.name + ".partial")
    try:
      with (
        partial.open("wb") as file,
        zstandard.ZstdCompressor(level=LEVEL).stream_writer(file, closefd=False) as stream,
      ):
        while pending is not None and length < SHARD:
          stream.write(pending)
          documents, length = documents + 1, length + len(pending)
          pending = next(lines, None)
      # On the disk before it has its name: the manifest, which is written later, must not survive a power failure
      # alone.
      _make_durable(partial)
      partial.replace(path)
    except OSError as error:
      partial.unlink(missing_ok=True)
      raise shards.no_space(path, error) from error
    with path.open("rb") as written:
      # Of the file as it lies on the disk, which is what readers will compare.
      sha256 = hashlib.file_digest(written, "sha256").hexdigest()
    files.append(
      {"name": f"shards/{path.name}", "bytes": path.stat().st_size, "sha256": sha256, "documents": documents}
    )
  return files


def _make_durable(path: Path) -> None:
  with path.open("rb") as file:
    os.fsync(file.fileno())


def _lines(folder: Path, count: int) -> Iterator[bytes]:
  """Yields the result's rows as JSON lines; the number of a document in its sources gives it a name of its own."""
  for index in range(count):
    for row in shards.read_rows(folder, index):
      fields = {"name": row.name, "source": row.source, "n": row.n, "text": row.text} | (
        {"scores": row.scores} if row.scores else {}
      )
      yield json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _write_drops(path: Path, work: Work, count: int) -> None:
  """Writes one line for each dropped document, with its stage and reason."""
  partial = path.with_name(path.name + ".partial")
  try:
    with partial.open("wb") as file:
      _copy_drops(file, work, count)
    _make_durable(partial)
    partial.replace(path)
  except OSError as error:
    partial.unlink(missing_ok=True)
    raise shards.no_space(path, error) from error


def _copy_drops(file: BinaryIO | io.BufferedWriter, work: Work, count: int) -> None:
  for current in work.passes:
    for lines in shard_work.join_drops(work.folder(current.number), count):
      file.write(lines)
