"""What pages, docstrings and sentences of errors say about installing is what installs this project."""

import ast
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("gen", "experiments", "scripts", "configs", "docs")
TEXTS = [
  *ROOT.glob("*.md"),
  *(path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file()),
]
FOR_OTHERS = {"h5py", "importlib-resources"}  # tensorflow-datasets imports them and does not declare them
# Used where they are installed: by the scripts of parity and of drawings, with jax.
OF_OTHERS = {"jaxlib", "pillow", "safetensors"}
PAGES = [path for path in TEXTS if path.suffix in (".py", ".md", ".js", ".html")]
OF_THE_INDEX = re.compile(
  r"(?:install|uv add)\s+(?:-\S+\s+)*['\"]?gen\b(?![/.-])|\bgen\["
)  # another project's package


def test_nothing_says_to_install_the_package_of_the_index_that_has_this_name():
  said = [
    f"{path.relative_to(ROOT)}: {found}" for path in PAGES for found in OF_THE_INDEX.findall(text(path))
  ]
  assert PAGES and not said


@pytest.mark.parametrize(
  "command", ["pip install gen", "pip install 'gen[interop]'", "uv add gen", "gen[slurm]"]
)
def test_a_command_that_installs_another_project_is_found(command):
  assert OF_THE_INDEX.search(f"give `{command}` once")


def test_every_extra_that_is_named_exists_and_cuda_is_none():
  extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
  named = {name for path in PAGES for name in re.findall(r"--extra[= ]([\w-]+)", text(path))}
  assert "cuda" not in extras and {"absent-gpus", "tpu", "harness"} <= named <= extras


def test_the_dependencies_are_what_gen_and_its_programs_import():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  extras = [line for lines in project["optional-dependencies"].values() for line in lines]
  # Scripts that make fixtures import the references from an environment of their own.
  programs = [path for name in FOLDERS[:-1] for path in (ROOT / name).rglob("*.py")]
  of_gen = set().union(*(imported(path) for path in programs if not path.name.endswith("_fixtures.py")))
  installed = importlib.metadata.packages_distributions()
  used = {normal(name) for module in of_gen for name in installed.get(module, [])}
  needed, optional = ({normal(line) for line in lines} for lines in (project["dependencies"], extras))
  assert sorted(needed - used - FOR_OTHERS) == [], "nothing imports them"
  assert sorted(used - needed - optional - OF_OTHERS) == [], "imported without being declared"


def imported(path):
  """Returns the top-level names of the absolute imports of a file."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and not node.level:
      found.add(node.module.split(".")[0])
  return found


def normal(line):
  return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", line)[0]).lower()


def text(path):
  return path.read_text(encoding="utf-8")


def test_no_package_is_among_the_ignored_folders_which_wheels_leave_out():
  lines = (ROOT / ".gitignore").read_text().splitlines()
  anywhere = {line.rstrip("/") for line in lines if line.endswith("/") and "/" not in line[:-1]}
  packages = {path.parent for folder in ("gen", "tests") for path in (ROOT / folder).rglob("*.py")}
  assert "__pycache__" in anywhere and len(packages) > 40
  assert not [path for path in packages if anywhere & set(path.relative_to(ROOT).parts)]
  assert all((path / "__init__.py").exists() for path in packages if path.is_relative_to(ROOT / "gen"))
