"""`UserError`, the exception for mistakes in the user's input, and the messages of libraries within it."""


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
