"""The one exception that is the user's to mend."""


class UserError(ValueError):
  """A mistake in what the user gave: one sentence that says what, where, and what to do.

  Experiments print it without a traceback and exit with code 2.
  """
