"""Questions about documentation with answers from the text: what is this parameter?

Docstrings have one of two formats, and the text after the name is the answer.

    Args:                                    Parameters
        axis (int): The axis to sum over.    ----------
                                             axis : int
                                                 The axis to sum over.
"""

import random
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gen.errors import UserError

_GOOGLE = re.compile(r"^ {2,8}(\w+)(?: \([^)\n]*\))?: +(\S.*)$")
_NUMPY = re.compile(r"^ {0,4}(\w+) : \S.*$")
_HEADING = re.compile(r"^\s*(Args|Arguments|Parameters)\b:?\s*$")
_END = re.compile(r"^\s*(Returns?|Yields?|Raises|Notes?|Examples?|See Also|References|Attributes)\b:?\s*$")
# Of an answer; chosen: fewer words say little ("the axis"), more do not fit one line.
MIN_WORDS, MAX_WORDS = 4, 14


class DocstringQuestion(NamedTuple):
  """A question about a parameter.

  Attributes:
    summary: a sentence of what the parameter belongs to.
    name: of the parameter.
    answer: the first line of its description.
    document: index of the text that contains it.
  """

  summary: str
  name: str
  answer: str
  document: int

  @property
  def prompt(self) -> str:
    """The question in the form of documentation, to be continued by the answer."""
    return f"{self.summary}\n\nArgs:\n    {self.name}: "

  @property
  def query(self) -> str:
    """What to search for."""
    return f"{self.summary} {self.name}"


def draw_questions(
  texts: Sequence[str], trained: Sequence[str], count: int, seed: int = 0
) -> list[DocstringQuestion]:
  """Returns random questions whose answers are in the texts and not in the training text.

  Args:
    texts: documents with docstrings.
    trained: the training text; answers in it are excluded.
    count: maximum number.
    seed: of the choice.

  Raises:
    UserError: if there is none.
  """
  # By answer: of two questions with one answer the last stays, and a right passage is unique.
  questions = {
    question.answer: question
    for number, each in enumerate(texts)
    for question in read_questions(each, number)
  }
  # An answer that the model has read is no test of retrieval: it could be recalled.
  known = "\n".join(trained)
  able = [question for question in questions.values() if question.answer not in known]
  if not able:
    raise UserError(
      "the validation text explains no parameter that the training text leaves out; take a corpus of docstrings"
    )
  random.Random(seed).shuffle(able)
  return able[:count]


def read_questions(content: str, document: int = 0) -> Iterator[DocstringQuestion]:
  """Yields the questions that a document answers, with answers of the allowed length."""
  lines, summary, inside = content.splitlines(), "", False
  for number, line in enumerate(lines):
    if _HEADING.match(line):
      inside = True
    elif _END.match(line):
      inside = False
    elif line and not line[0].isspace() and line.endswith("."):
      summary, inside = line, False
    if not (inside and summary):
      continue
    name, answer = _explained(line, lines[number + 1 : number + 2])
    if answer and MIN_WORDS <= len(answer.split()) <= MAX_WORDS:
      yield DocstringQuestion(summary, name, answer, document)


def _explained(line: str, following: list[str]) -> tuple[str, str]:
  """Returns the parameter that a line explains, and the first line of the explanation; empty if it does not."""
  google, numpy = _GOOGLE.match(line), _NUMPY.match(line)
  if numpy and following and following[0][:1].isspace() and following[0].strip():
    return numpy[1], following[0].strip()
  return (google[1], google[2].strip()) if google else ("", "")
