import json
import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from gen.data.sources.python_packages import docstrings


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


ODD = b'''
def tabs():
\t"""One.

\t    Two, by a tab.
\t\fThree, after a form feed.
\xc2\xa0   Four, after a no-break space.
\t"""

class Escapes:
  "\\N{BULLET} \\x41 \\
  joined, \\u2028 and \\t"

  async def raw(self):
    r"""\\d stays.\n        More.   \n\n    """

def f(): """   """
def g(): f"no docstring"
def h(): "one" "two\\n   three\\n  four"
'''


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_docstrings_of_a_file_do_not_depend_on_python(tmp_path, version):
  python = find_python(version)
  if python is None:
    pytest.skip(f"there is no Python {version} here")
  path = tmp_path / "odd.py"
  path.write_bytes(ODD)
  words = [python, "-I", "-W", "ignore", docstrings.__file__]
  done = subprocess.run(words, input=json.dumps([str(path)]), capture_output=True, text=True, check=True)
  assert json.loads(done.stdout) == [docstrings.docstrings_of_source(ODD)]
  assert len(docstrings.docstrings_of_source(ODD)) == 5


def find_python(version):
  """Returns a Python of that version, as uv or pyenv has it; None if there is none."""
  words = [shutil.which("uv") or "true", "python", "find", "--offline", "--no-project", version]
  by_uv = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
  roots = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
  by_pyenv = sorted(roots.glob(f"versions/{version}.*/bin/python"))
  return by_uv or next(map(str, by_pyenv), None)
