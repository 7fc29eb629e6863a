"""Raw e-mail, one message or an mbox of many, and raw HTML: markup that a later stage turns into text."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gen.config.curation import Curation
from gen.data.document import Document
from gen.data.sources.file_formats import compressed, files, kinds
from gen.data.sources.file_formats.notes import Notes
from gen.errors import UserError

SCHEME = "mail"
# Bytes in which a message's first headers stand; RFC 5322 limits a line to 998 characters, so some do.
_HEAD = 4096
_HEADER = re.compile(rb"[!-9;-~]+:(?: |\t|\r?$)")
# Header fields of RFC 5322, and those that mail servers add; a text that only looks like a header has none of them.
_KNOWN = re.compile(
  rb"^(?:from|to|subject|date|message-id|received|return-path|mime-version|delivered-to|x-[\w-]+):",
  re.I | re.M,
)
_SEPARATOR = re.compile(rb"From \S.*\d\d:\d\d")  # asctime's time of day follows the address


def is_mail(head: bytes) -> bool:
  r"""Returns whether a file begins as an e-mail message or an mbox does: with lines of headers, three of them known.

  >>> is_mail(b"From: a@b.org\nTo: c@d.org\nSubject: x\n\ny"), is_mail(b"From here: on")
  (True, False)
  """
  lines = head.lstrip(b"\r\n").split(b"\n")
  if lines and _SEPARATOR.match(lines[0]):
    lines = lines[1:]
  block = []
  for line in lines:
    if not line.strip():
      break
    block.append(line)
  if not block or not _HEADER.match(block[0]):
    return False
  complete = block[:-1] or block  # the head may end within a line
  well_formed = all(_HEADER.match(line) or line[:1] in (b" ", b"\t") for line in complete)
  return well_formed and len({name.lower() for name in _KNOWN.findall(b"\n".join(block))}) >= 3


def read_raw(
  name: str, path: Path, config: Curation, forced: str | None, alone: bool, notes: Notes
) -> Iterator[Document]:
  """Yields the documents of a file; a message of e-mail or a page of HTML is one document with all its markup.

  Args:
    name: of the file, with which names of documents begin.
    path: of the file.
    config: only field and max_bytes are used.
    forced: the format of the file, one of `kinds.FORMATS` or `SCHEME`; None detects it.
    alone: whether a text is cut into blocks.
    notes: collects how the file was read.

  Raises:
    UserError: as `files.read_documents`, and for a message that is too long.
  """
  if forced in (None, SCHEME):
    with compressed.open_decompressed(path, notes.warn, config.max_bytes) as opened:
      head, stream = compressed.peek_stream(opened.stream, _HEAD)
      if forced == SCHEME or is_mail(head):
        notes.add(name, "e-mail, raw messages")
        yield from read_messages(stream, name, str(path))
        return
  for document in files.read_documents(
    [(name, path)], config.field, forced, notes, config.max_bytes, alone, read_page=str
  ):
    head = document.text[:_HEAD].encode("utf-8", "surrogatepass")
    if document.text.startswith("From ") and is_mail(head):  # an mbox within an archive
      yield from _messages(iter(document.text.encode().splitlines(keepends=True)), document.name, str(path))
    else:
      yield document


def read_messages(stream: IO[bytes], name: str, where: str) -> Iterator[Document]:
  """Yields the messages of an mbox, or the only one of a file.

  Raises:
    UserError: for a message of more than 64 MiB.
  """
  yield from _messages(_lines(stream, where), name, where)


def _lines(stream: IO[bytes], where: str) -> Iterator[bytes]:
  while line := stream.readline(kinds.MAX_RECORD + 1):
    if len(line) > kinds.MAX_RECORD:
      raise UserError(f"{where}: a line of a message has more than {kinds.MAX_RECORD >> 20} MiB; remove it")
    yield line


def _messages(lines: Iterator[bytes], name: str, where: str) -> Iterator[Document]:
  pending: list[bytes] = []
  length, number, follows_blank = 0, 1, True
  for line in lines:
    if follows_blank and _SEPARATOR.match(line):
      if any(map(bytes.strip, pending)):
        yield Document(f"{name}:{number}", _decode(b"".join(pending)))
        number += 1
      pending, length = [], 0
      follows_blank = False
      continue
    pending.append(line)
    length += len(line)
    if length > kinds.MAX_RECORD:
      raise UserError(
        f"{where}: message {number} has more than {kinds.MAX_RECORD >> 20} MiB; remove its attachments"
      )
    follows_blank = not line.strip()
  if any(map(bytes.strip, pending)):
    yield Document(f"{name}:{number}", _decode(b"".join(pending)))


def _decode(content: bytes) -> str:
  """Returns a message as text; one that is not UTF-8 keeps its bytes as Latin-1, which its headers then decode."""
  try:
    return content.decode("utf-8")
  except UnicodeDecodeError:
    return content.decode("latin-1")
