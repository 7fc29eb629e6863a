"""Text from flags, from standard input and from a terminal; anything but UTF-8 is an error in one sentence."""

import contextlib
import sys
from collections.abc import Iterator

from gen.errors import UserError


def read_prompt(flag: str | None) -> str | None:
  """Returns the prompt of `--prompt`, where - reads standard input to its end.

  Args:
    flag: the flag's value; None is returned as it is.

  Raises:
    UserError: if the prompt is empty or not UTF-8.
  """
  prompt = flag
  if prompt == "-":
    prompt = decode_utf8(sys.stdin.buffer.read())
  elif prompt is not None and any("\ud800" <= letter <= "\udfff" for letter in prompt):
    # Python turns bytes of the command line that are not UTF-8 into these code points.
    raise UserError("--prompt is not UTF-8; give text in that encoding")
  if prompt == "":
    raise UserError("the prompt is empty; give some text to continue")
  return prompt


def decode_utf8(data: bytes) -> str:
  """Decodes bytes of standard input.

  Raises:
    UserError: if they are not UTF-8.
  """
  try:
    return data.decode("utf-8")
  except UnicodeDecodeError as error:
    raise UserError(
      f"standard input is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; give text in that encoding"
    ) from None


def input_lines() -> Iterator[str]:
  """Yields the lines of standard input; on a terminal with editing and history.

  Raises:
    UserError: if a line that is not typed on a terminal is not UTF-8.
  """
  if not sys.stdin.isatty():
    for data in sys.stdin.buffer:
      yield decode_utf8(data).rstrip("\r\n")
    return
  with contextlib.suppress(ImportError):
    import readline  # noqa: F401  arrow keys and earlier lines in input()
  while True:
    try:
      yield input("> ")
    except EOFError:
      print()
      return
    except KeyboardInterrupt:
      print("\n/quit or Ctrl-D ends the conversation", file=sys.stderr)
    except UnicodeDecodeError:
      print("error: the line is not UTF-8", file=sys.stderr)
