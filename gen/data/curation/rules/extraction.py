"""Text of HTML pages and of e-mail messages; what has no markup passes unchanged."""

import email
import email.message
import logging
import re
from collections.abc import Iterator

from gen.config.curation import Extract
from gen.data.curation.rules import optional
from gen.data.curation.rules.verdicts import Drop, Kept, Verdict
from gen.data.document import Document
from gen.data.sources.file_formats import html_text, kinds, mail

_HEAD = 4096  # characters in which mail and pages are recognized; headers and a doctype stand well before
MAX_PARSED = (
  4 << 20
)  # characters of a page that trafilatura parses; of a longer one, all visible text is taken
_FRAGMENT = re.compile(
  r"<(?:div|p|span|table|tr|ul|ol|li|h[1-6]|article|section|main|header|a|b|i|em|strong|font|center|img|meta|title"
  r"|script|style|br|hr)(?:\s[^<>]*)?/?>",
  re.I,
)
_CLOSING = re.compile(r"</[a-z][a-z0-9]*>", re.I)
# Lines that introduce the quoted message: of Gmail and Apple Mail ("On ... wrote:", 200 characters at most, folded over
# two lines), of Outlook, and Outlook's rule of underscores.
_ANSWERED = re.compile(r"^(?:On .{5,200} wrote:|-{2,} ?Original Message ?-{2,}|_{20,})\s*$", re.M | re.S)


def extract_text(document: Document, parameters: Extract) -> Verdict:
  """Replaces a page or a message by its text."""
  start = document.text[:_HEAD].lstrip()
  if mail.is_mail(start.encode("utf-8", "surrogatepass")):
    text = mail_text(document.text, parameters)
    kind = "messages"
  elif is_markup(start):
    text = page_text(document.text, parameters)
    kind = "pages"
  else:
    return document
  text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates, which headers of mail may hold
  if not text.strip():
    return Drop(f"no text in {kind}")
  return Kept(Document(document.name, text), counts={kind: 1})


def is_markup(start: str) -> bool:
  """Returns whether a text begins as an HTML page, or as a part of one.

  >>> is_markup("<!DOCTYPE html><html>"), is_markup("<p>One</p><p>Two</p>"), is_markup("<5 mm of rain")
  (True, True, False)
  """
  if not start.startswith("<"):
    return False
  return kinds.is_page(start) or (_FRAGMENT.match(start) is not None and len(_CLOSING.findall(start)) >= 2)


def page_text(page: str, parameters: Extract) -> str:
  """Returns the text of a page: its main content by trafilatura, or all that is visible."""
  if parameters.engine == "visible" or len(page) > MAX_PARSED:
    try:
      return html_text.visible_text(page)
    except ValueError:  # too many tags
      return ""
  trafilatura = optional.import_extra("trafilatura", "extract")
  # A page without text is dropped with a reason in the report; the library would print four lines that name no page.
  logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
  text = trafilatura.extract(
    page,
    include_comments=False,
    favor_precision=parameters.favor == "precision",
    favor_recall=parameters.favor == "recall",
  )
  return text or ""


def mail_text(message: str, parameters: Extract) -> str:
  """Returns the text of a message: its plain parts, or its HTML parts if it has none."""
  try:
    content = message.encode("latin-1")  # as it was read, if it was not UTF-8
  except UnicodeEncodeError:
    content = message.encode("utf-8", "surrogatepass")
  if content.startswith(b"From "):
    content = content.partition(b"\n")[2]
  parts = list(_text_parts(email.message_from_bytes(content)))
  plain = [text for kind, text in parts if kind == "text/plain" and text.strip()]
  pages = [page_text(text, parameters) for kind, text in parts if kind == "text/html"] if not plain else []
  text = "\n\n".join(plain or pages).replace("\r\n", "\n")
  return text if parameters.quoted else without_quotes(text)


def _text_parts(message: email.message.Message) -> Iterator[tuple[str, str]]:
  """Yields (kind, text) of the parts of a message that are shown; attachments are not."""
  for part in message.walk():
    kind = part.get_content_type()
    if kind not in ("text/plain", "text/html") or part.get_content_disposition() == "attachment":
      continue
    payload = part.get_payload(decode=True)
    if isinstance(payload, bytes):
      yield kind, _decode(payload, part.get_content_charset() or "utf-8")


def _decode(payload: bytes, charset: str) -> str:
  for encoding in (charset, "utf-8", "cp1252"):
    try:
      return payload.decode(encoding)
    except (LookupError, ValueError):
      continue
  return payload.decode("latin-1")


def without_quotes(text: str) -> str:
  r"""Returns the text of a message without quoted lines, the message that it answers, and its signature.

  >>> without_quotes("Yes.\n\n> Is it so?\n-- \nAnn")
  'Yes.\n'
  """
  text = re.split(r"^-- ?$", text, maxsplit=1, flags=re.M)[0]
  introduction = _ANSWERED.search(text)
  if introduction is not None:
    above = text[: introduction.start()]
    # An answer below what it quotes follows its introduction.
    text = above if above.strip() else text[introduction.end() :]
  lines = [line for line in text.split("\n") if not line.startswith((">", "|>"))]
  return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"
