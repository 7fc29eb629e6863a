"""`UserError`, the exception for mistakes in the user's input, and the messages of libraries within it."""

import contextlib
from collections.abc import Iterator


class UserError(ValueError):
  """A mistake in the user's input; one sentence says what is wrong, where, and what to do.

  Experiments print the sentence without a traceback and exit with code 2.
  """


def summarize_error(error: BaseException, limit: int = 200) -> str:
  """Returns a library's message as part of a sentence: on one line, cut to so many characters.

  Some libraries repeat the damaged bytes themselves, which can be as long as the file.
  """
  text = " ".join(str(error).split())
  return text if len(text) <= limit else f"{text[:limit]}..."


@contextlib.contextmanager
def name_flag(flag: str, field: str = "data.corpus") -> Iterator[None]:
  """Puts a flag into the sentence of a mistake, in place of the field of the config that its value went through.

  >>> with name_flag("--judge"):
  ...   raise UserError("data.corpus none.txt: no such file or folder")
  Traceback (most recent call last):
  gen.errors.UserError: --judge none.txt: no such file or folder

  Args:
    flag: that the user wrote.
    field: of the config.
  """
  try:
    yield
  except UserError as error:
    raise UserError(str(error).replace(field, flag, 1)) from error.__cause__
