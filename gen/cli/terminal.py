"""Robust output to any terminal: any encoding, any width, a closed pipe.

Text that the terminal's encoding lacks is written with replacement characters, because an answer in part is worth more
than a traceback. A reader that leaves (`| head -1`) ends the program as it ends other Unix programs. What is written to
a terminal that was closed meanwhile is dropped, because a progress line is worth less than the work; so is what
standard error cannot take, for example on a full disk. Standard output on a full disk is one sentence.
"""

import errno
import io
import os
import select
import shutil
import sys
from collections.abc import Callable
from typing import Any, TextIO

MIN_COLUMNS = 40  # narrower help cannot be laid out by absl
READER_LEFT = 141  # exit code: 128 + SIGPIPE, as shells have it
UNWRITABLE = 1  # exit code


class OutputError(OSError):
  """Standard output cannot be written, for example because the disk is full."""


def run_at_terminal(function: Callable[[], int | None]) -> int:
  """Runs a program's main function with robust standard streams; returns its exit code."""
  _prepare()
  try:
    code = function() or 0
  except SystemExit as stop:  # absl and argparse, when they have helped
    code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    if isinstance(stop.code, str):
      print(stop.code, file=sys.stderr)
  except BrokenPipeError:
    if not _reader_left():
      raise  # another pipe, such as one to a worker process
    _drop_output()
    code = READER_LEFT
  except OutputError as error:
    code = _refused(error)
  return _flush() or code


def print_progress(line: str) -> None:
  """Prints a line on standard error, so that standard output holds results only."""
  print(line, file=sys.stderr, flush=True)


def _prepare() -> None:
  """Makes standard output and error safe to write to; a stream that is closed becomes the null device."""
  sys.stdout, sys.stderr = _writable(sys.stdout), _writable(sys.stderr, drops=True)
  if shutil.get_terminal_size().columns < MIN_COLUMNS:
    os.environ["COLUMNS"] = str(MIN_COLUMNS)


def _writable(stream: TextIO | None, drops: bool = False) -> TextIO:
  if stream is None:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  open for the rest of the process
  if isinstance(stream, io.TextIOWrapper):
    errors = "replace" if stream.errors in ("strict", "surrogateescape") else stream.errors
    stream.reconfigure(errors=errors)
    if isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):  # not a test's
      return _reopened(stream, drops)
  return stream


def _reopened(stream: io.TextIOWrapper, drops: bool) -> TextIO:
  """Returns a stream to the same file that handles failed writes."""
  stream.flush()
  file: Any = _OutputFile(stream.fileno(), drops)
  if not isinstance(stream.buffer, io.RawIOBase):  # which it is under `python -u`
    file = io.BufferedWriter(file)
  lines = stream.line_buffering or stream.isatty()
  return io.TextIOWrapper(
    file, stream.encoding, stream.errors, line_buffering=lines, write_through=stream.write_through
  )


class _OutputFile(io.FileIO):
  """A file or terminal that may be full, or closed while the program works."""

  def __init__(self, descriptor: int, drops: bool) -> None:
    """Wraps a descriptor; `drops` says whether text that cannot be written is lost without an error."""
    super().__init__(descriptor, "w", closefd=False)
    self._drops, self._terminal = drops, self.isatty()  # a terminal that was closed is none

  def write(self, text: Any) -> int:
    try:
      return super().write(text)
    except BrokenPipeError:
      raise
    except OSError as error:
      if self._drops or (error.errno == errno.EIO and self._terminal):
        return len(text)
      raise OutputError(*error.args) from error


def _reader_left() -> bool:
  """Returns whether standard output is a pipe without a reader."""
  try:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
  except (OSError, ValueError, AttributeError):  # no file, closed, or no poll on this system
    return False


def _drop_output() -> None:
  """Sends what is still to be written to the null device, so that the interpreter's last flush succeeds."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flush() -> int:
  """Writes what is buffered; returns the exit code that a failure means, or 0."""
  try:
    sys.stdout.flush()
  except OSError as error:
    if isinstance(error, BrokenPipeError):
      _drop_output()
      return READER_LEFT
    return _refused(error)
  return 0


def _refused(error: OSError) -> int:
  """Says that standard output cannot be written; returns the exit code."""
  _drop_output()
  print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
  return UNWRITABLE
