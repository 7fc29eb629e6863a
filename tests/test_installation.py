"""What pages, docstrings and sentences of errors say about installing is what installs this project."""

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
PAGES = [path for path in TEXTS if path.suffix in (".py", ".md", ".js", ".html")]
OF_THE_INDEX = re.compile(
  r"(?:install|uv add)\s+(?:-\S+\s+)*['\"]?gen\b(?![/.])|\bgen\["
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


def text(path):
  return path.read_text(encoding="utf-8")


def test_no_package_is_among_the_ignored_folders_which_wheels_leave_out():
  lines = (ROOT / ".gitignore").read_text().splitlines()
  anywhere = {line.rstrip("/") for line in lines if line.endswith("/") and "/" not in line[:-1]}
  packages = {path.parent for folder in ("gen", "tests") for path in (ROOT / folder).rglob("*.py")}
  assert "__pycache__" in anywhere and len(packages) > 40
  assert not [path for path in packages if anywhere & set(path.relative_to(ROOT).parts)]
  assert all((path / "__init__.py").exists() for path in packages if path.is_relative_to(ROOT / "gen"))
