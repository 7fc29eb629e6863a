import textwrap

from gen.data.sources import docstrings


def test_docstrings_of_everything_that_has_one_are_found_in_order():
  source = textwrap.dedent('''
    """Module."""
    import os
    "not one"
    if os:
      def first():
        """First."""
        def inner():
          "Inner."
    class Thing:
      """Thing.

          Indented.
        Less.
      """
      async def method(self):
        """Method."""
      value = 3
      """not one either"""
    try:
      pass
    except OSError:
      def last(): """Last."""
  ''').encode()
  assert docstrings.docstrings_of_source(source) == [
    "Module.", "First.", "Inner.", "Thing.\n\n  Indented.\nLess.", "Method.", "Last.",
  ]  # fmt: skip


def test_a_file_that_does_not_parse_has_none():
  for source in (b"def f(:", b"\0", b"# coding: klingon\n'x'", b"(" * 1000):
    assert docstrings.docstrings_of_source(source) == []


def test_other_encodings_are_read_as_they_declare():
  assert docstrings.docstrings_of_source('# coding: latin-1\n"é"'.encode("latin-1")) == ["é"]


def test_processes_agree_with_one_whatever_their_number(tmp_path):
  paths = []
  for index in range(7):
    path = tmp_path / f"{index}.py"
    path.write_text(f'"""Number {index} é."""\n' + "x = 1\n" * index * 50)
    paths.append(str(path))
  expected = [[f"Number {index} é."] for index in range(7)]
  assert (
    docstrings.docstrings_of_files(paths, 1)
    == docstrings.docstrings_of_files(paths, 3)
    == docstrings.docstrings_of_files(paths, 9)
    == expected
  )
