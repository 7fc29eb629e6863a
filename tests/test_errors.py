"""The messages of libraries within sentences of one's own."""

from gen import errors


def test_a_librarys_message_is_one_line_of_bounded_length():
  assert errors.summarize_error(ValueError("bad\n  magic\tnumber")) == "bad magic number"
  long = errors.summarize_error(ValueError("bytes\n" * 400), limit=17)
  assert long == "bytes bytes bytes..." and len(long) == 20
