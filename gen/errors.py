"""`UserError`, the exception for mistakes in the user's input."""


class UserError(ValueError):
  """A mistake in the user's input; one sentence says what is wrong, where, and what to do.

  Experiments print the sentence without a traceback and exit with code 2.
  """
