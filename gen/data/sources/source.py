"""Where text comes from, behind one interface: what a name means, what it depends on, and its documents."""

import difflib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gen.config import Data
from gen.data.document import Document
from gen.data.sources import environment, files, kinds
from gen.errors import UserError

SCHEMES = ("environment", *kinds.FORMATS, "tfds")


class Source(NamedTuple):
  """A named body of text.

  Attributes:
    name: as the user wrote it.
    fingerprint: what JSON can hold and changes whenever the text may have changed.
    documents: yields its documents in a fixed order.
    blocks: whether they are pieces of one text, cut by size; two equal ones are then no duplicates.
    notes: returns, once the documents have been read, lines that say how.
  """

  name: str
  fingerprint: Any
  documents: Callable[[], Iterator[Document]]
  blocks: bool = False
  notes: Callable[[], list[str]] = list


def read_documents(data: Data) -> Iterator[Document]:
  """Yields the documents of data.corpus as they come, duplicates and all."""
  return find_source(data).documents()


def find_source(data: Data) -> Source:
  """Returns what data.corpus means.

  Raises:
    UserError: if it means nothing, or nothing is there.
  """
  name = data.corpus
  if not name:
    raise UserError(
      "data.corpus is empty; name a file, a folder, a glob, environment, jsonl:PATH or tfds:NAME"
    )
  scheme, colon, rest = name.partition(":")
  if scheme == "environment":
    return _environment(name, rest if colon else environment.KINDS[0])
  if scheme in kinds.FORMATS and colon and not _is_path(name):
    return _files(name, rest, data.field, scheme)
  if scheme == "tfds" and colon:
    return _named_set(name, rest, data)
  if colon and re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]+", scheme):
    _refuse_scheme(name, scheme)
  return _files(name, name, data.field)


def _refuse_scheme(name: str, scheme: str) -> None:
  """A path may hold a colon; a name that is no path and begins like a scheme is a mistake in the scheme."""
  try:
    files.find_files(name)
  except UserError:
    near = difflib.get_close_matches(scheme.lower(), SCHEMES, 1)
    offer = f"did you mean {near[0]}?" if near else f"known are {', '.join(SCHEMES)}, and plain paths"
    raise UserError(f"data.corpus {name!r}: unknown scheme {scheme!r}; {offer}") from None


def _environment(name: str, kind: str) -> Source:
  if kind not in environment.KINDS:
    raise UserError(
      f"data.corpus {name!r} is not known; write environment:{' or environment:'.join(environment.KINDS)}"
    )
  return Source(
    name, ["environment", kind, environment.corpus_pins()], lambda: environment.read_documents(kind)
  )


def _is_path(name: str) -> bool:
  """Says whether a file has this very name, which then is no scheme."""
  return os.path.lexists(name)


def _files(name: str, pattern: str, field: str, forced: str | None = None) -> Source:
  found = files.find_files(pattern)
  # What cannot be text is refused before the whole of it is read for its hash.
  held = files.kinds_of(found, forced)
  fingerprint = ["files", kinds.VERSION, forced, field, held, files.fingerprint_files(found)]
  notes = files.Notes()
  return Source(
    name,
    fingerprint,
    lambda: files.read_documents(found, field, forced, notes),
    files.is_one_text(found, forced),
    notes.lines,
  )


def _named_set(name: str, rest: str, data: Data) -> Source:
  from gen.data.sources.tfds_sets import NamedSet  # TFDS takes a second to import

  opened = NamedSet(rest, data.split)
  return Source(name, ["tfds", data.field, opened.fingerprint()], lambda: opened.documents(data.field))
