"""Sentences in CoNLL columns: one token a line, fields between tabs or spaces, a blank line after each sentence.

Lines of -DOCSTART- open documents. In CoNLL-U's ten columns the word is the second and its part of speech the fourth.
"""

import re
from collections import Counter
from collections.abc import Mapping

from gen.data.tasks.records.record import Record
from gen.data.tasks.records.text_lines import OpenText, read_lines
from gen.errors import UserError

DOCUMENT_MARK = "-DOCSTART-"
_UNIVERSAL = 10  # columns of CoNLL-U
_COMMENT = re.compile(r"#\s*[\w-]+\s*=|#\s*new(par|doc)\b|#(begin|end) document\b")
_DOCUMENT_COMMENT = re.compile(r"#(?:\s*newdoc|begin document)\b(?:\s+id\s*=)?\s*(.*)")
Token = tuple[int, list[str]]  # line number, fields


def read_conll(opened: OpenText, columns: Mapping[str, str]) -> tuple[list[Record], str]:
  """Returns the sentences of a file as records of tokens and tags, and what was taken for what.

  Args:
    opened: the file.
    columns: numbers of the columns of tokens and tags, from 1; tokens are the first and tags the last by default.

  Raises:
    UserError: for a line with another number of columns than most.
  """
  sentences, has_tabs = _read_sentences(opened)
  if not sentences:
    raise UserError(f"{opened.where}: the file has no tokens")
  width = Counter(len(fields) for _, tokens in sentences for _, fields in tokens).most_common(1)[0][0]
  if width < 2:
    raise UserError(
      f"{opened.where}: its lines have one column; write one token a line, then a tab or a space and its tag"
    )
  is_universal = width == _UNIVERSAL and has_tabs
  at_token = _column(columns, "tokens", 2 if is_universal else 1, width, opened.where)
  at_tag = _column(columns, "tags", 4 if is_universal else width, width, opened.where)
  records = []
  for document, tokens in sentences:
    for number, fields in tokens:
      if len(fields) != width:
        raise UserError(f"{opened.where}:{number}: {len(fields)} columns, but most lines have {width}")
    words = [item for item in tokens if not (is_universal and re.fullmatch(r"\d+[-.]\d+", item[1][0]))]
    if words:
      records.append(_record(opened.where, document, words, at_token, at_tag))
  return records, f"column {at_token + 1} is taken for tokens, column {at_tag + 1} for tags"


def _record(where: str, document: str, words: list[Token], at_token: int, at_tag: int) -> Record:
  first, last = words[0][0], words[-1][0]
  values = {
    "tokens": tuple(fields[at_token] for _, fields in words),
    "tags": tuple(fields[at_tag] for _, fields in words),
  }
  lines = range(first, last + 1) if last - first + 1 == len(words) else range(0)
  return Record(f"{where}:{first}", values, document, lines=lines, file=where)


def _column(columns: Mapping[str, str], name: str, default: int, width: int, where: str) -> int:
  told = str(columns.get(name, default))
  if not (told.isascii() and told.isdigit()) or not 1 <= int(told) <= width:
    raise UserError(f"{where}: the column of {name} is {told!r}; give a number from 1 to {width}")
  return int(told) - 1


def _read_sentences(opened: OpenText) -> tuple[list[tuple[str, list[Token]]], bool]:
  """Returns (document, tokens) of each sentence, and whether tabs separate the fields."""
  sentences: list[tuple[str, list[Token]]] = []
  tokens: list[Token] = []
  document, documents, has_tabs = "", 0, None
  for number, line in read_lines(opened.stream, opened.where):
    if not line.strip():
      if tokens:
        sentences.append((document, tokens))
      tokens = []
      continue
    if has_tabs is None and not line.startswith("#"):
      has_tabs = "\t" in line
    fields = line.split("\t") if has_tabs else line.split()
    newdoc = _DOCUMENT_COMMENT.fullmatch(line.strip())
    if fields[0].strip() == DOCUMENT_MARK or (newdoc and not tokens):
      documents += 1
      document = (newdoc[1] or "" if newdoc else "") or f"{opened.name}#{documents}"
      continue
    if not tokens and _COMMENT.match(line):
      continue
    tokens.append((number, [field.strip() for field in fields]))
  if tokens:
    sentences.append((document, tokens))
  if documents:  # what stands before the first mark is a document too
    sentences = [(document or f"{opened.name}#0", tokens) for document, tokens in sentences]
  return sentences, bool(has_tabs)
