"""Corpora of the user's own code: a function without arguments that yields documents.

A document is its text, (name, text), or a `Document`; the name decides whether it belongs to training or validation,
and without one it is the document's number. The corpus is cached until the function's source changes. A function whose
text depends on anything else has an attribute `fingerprint`, a function whose result changes with the text.
"""

from collections.abc import Iterator
from typing import Any

from gen.data.document import Document
from gen.errors import UserError
from gen.io import strict_json, user_code

FIELD = "data.corpus"


def fingerprint_function(reference: str) -> list[Any]:
  """Returns what identifies the text of a function, without reading it.

  Raises:
    UserError: if it cannot be imported, or is no function.
  """
  function = user_code.load_object(reference, FIELD)
  if not callable(function):
    raise UserError(
      f"{FIELD} {reference} is a {type(function).__name__}; it must be a function that yields documents"
    )
  fingerprint = getattr(function, "fingerprint", None)
  with user_code.errors_of(f"{FIELD} {reference}: fingerprint"):
    values = None if fingerprint is None else strict_json.plain_value(fingerprint())
  return ["python", reference.rpartition(":")[2], user_code.source_checksum(reference, FIELD), values]


def read_documents(reference: str) -> Iterator[Document]:
  """Yields the documents of a function.

  Raises:
    UserError: if it fails, or yields something else.
  """
  function, what = user_code.load_object(reference, FIELD), f"{FIELD} {reference}"
  with user_code.errors_of(what):
    for number, item in enumerate(function()):
      yield _document(number, item, what)


def _document(number: int, item: Any, what: str) -> Document:
  """Returns a document, or raises UserError."""
  named = (str(number), item) if isinstance(item, str) else item
  if not (isinstance(named, tuple) and len(named) == 2 and all(isinstance(part, str) for part in named)):
    raise UserError(f"{what}: document {number} is a {type(item).__name__}; yield a str, or (name, text)")
  try:
    named[1].encode("utf-8")
  except UnicodeEncodeError:
    raise UserError(f"{what}: document {number} holds half of a surrogate pair; clean the text") from None
  return Document(*named)
