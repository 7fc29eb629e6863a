import functools
import subprocess
import sys

import pytest

from gen.errors import UserError
from gen.io import user_code

FIELD = "optimizer.name"


@pytest.fixture
def package(tmp_path, monkeypatch):
  """A folder with a module that imports another one beside it, and a third that neither imports."""
  (tmp_path / "rules.py").write_text("import tables\n\ndef make():\n  return tables.VALUE\n")
  (tmp_path / "tables.py").write_text("VALUE = 3\n")
  (tmp_path / "apart.py").write_text("VALUE = 4\n")
  monkeypatch.setattr(sys, "path", list(sys.path))
  before = set(sys.modules)
  yield tmp_path
  for name in set(sys.modules) - before:
    del sys.modules[name]


@pytest.mark.parametrize(
  ("text", "expected"),
  [("a.b:c", True), ("x/y.py:Name", True), ("C:\\x.py:Name", True), ("adamw", False), ("a:", False), (":b", False),
   ("jsonl:file.gz", False), ("a:b.c", False)],
)  # fmt: skip
def test_a_reference_is_a_module_or_a_file_and_a_name(text, expected):
  assert user_code.is_reference(text) == expected


def test_an_object_comes_from_a_file_with_what_lies_beside_it(package):
  assert user_code.load_object(f"{package}/rules.py:make", FIELD)() == 3


def test_an_object_comes_from_a_module(package, monkeypatch):
  monkeypatch.syspath_prepend(str(package))
  assert user_code.load_object("rules:make", FIELD)() == 3
  assert user_code.load_object("functools:partial", FIELD) is functools.partial


def test_a_file_that_changed_is_imported_anew(package):
  reference = f"{package}/tables.py:VALUE"
  assert user_code.load_object(reference, FIELD) == 3
  (package / "tables.py").write_text("VALUE = 5\n")
  assert user_code.load_object(reference, FIELD) == 5


def checksum(folder, edits=()):
  """The checksum that a new process computes after files were edited."""
  for name, text in edits:
    (folder / name).write_text(text)
  reference = f"{folder / 'rules.py'}:make"
  program = f"from gen.io import user_code; print(user_code.source_checksum({reference!r}, ''))"
  done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
  return done.stdout.strip()


def test_the_checksum_covers_the_file_and_what_it_imports_from_its_folder(package):
  first = checksum(package)
  assert len(first) == 64 and checksum(package) == first
  assert checksum(package, [("apart.py", "VALUE = 9\n")]) == first
  second = checksum(package, [("tables.py", "VALUE = 3  # edited\n")])
  third = checksum(package, [("rules.py", "import tables\n\ndef make():\n  return 2 * tables.VALUE\n")])
  assert len({first, second, third}) == 3


@pytest.mark.parametrize(
  ("source", "sentence"),
  [
    ("import no_such_package_at_all", "cannot be imported: ModuleNotFoundError: No module named"),
    ("def make(:", "cannot be imported: SyntaxError"),
    ("raise RuntimeError('not today')", "cannot be imported: RuntimeError: not today"),
    ("def other(): pass", "has no 'make'; it has other"),
    ("", "has no 'make'; it has no public names"),
  ],
)
def test_a_file_that_does_not_work_is_one_sentence(tmp_path, source, sentence):
  (tmp_path / "own.py").write_text(source)
  with pytest.raises(UserError, match=sentence) as raised:
    user_code.load_object(f"{tmp_path}/own.py:make", FIELD)
  assert FIELD in str(raised.value) and "\n" not in str(raised.value)


def test_a_function_of_a_file_is_named_by_its_path_and_one_of_a_module_by_the_module(package):
  make = user_code.load_object(f"{package}/rules.py:make", FIELD)
  assert user_code.reference_to(make, FIELD) == f"{package / 'rules.py'}:make"
  assert user_code.reference_to(functools.partial, FIELD) == "functools:partial"
