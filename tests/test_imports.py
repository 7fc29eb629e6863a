"""The house keeps its order: imports run one way, files stay short, and `import gen` is light."""

import ast
import functools
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gen import presets
from gen.config import ATLAS_FAMILIES, Atlas, Run, Sweep, validation
from gen.config.comparisons import CurationStudy, DomainStudy, check_curation_study, check_domain_study
from gen.config.curation import Curation, check_curation

ROOT = Path(__file__).parents[1]
# Each may import those before it. What shares a floor does not import one another.
FLOORS = (
  {"errors", "batch", "versions", "io", "__init__"},
  {"config"},
  {"counts", "presets", "cli", "figures"},
  {"data", "optimizers", "precision", "sharding"},
  {"kernels"},
  {"models"},
  {"training"},
  {"interop", "costs"},
  {"generation"},
  {"evaluation", "quantization"},
  {"scaling"},
  {"finetuning"},
  {"api"},
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FREE = {"errors", "batch", "versions", "io", "config", "counts", "presets", "cli", "__init__"}
LONGEST = 400
MAX_MODULES = 20  # of a folder
LONGEST_EXPERIMENT = 115


def sources(*folders):
  return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@functools.cache
def syntax_tree(path):
  return ast.parse(path.read_text())


def part_of(path):
  """Returns the part of `gen` that a file belongs to: its folder, or itself."""
  first = path.relative_to(ROOT / "gen").parts[0]
  return first.removesuffix(".py")


def imported(path):
  """Returns the parts of `gen` that a file imports, wherever in it, and their line."""
  for node in ast.walk(syntax_tree(path)):
    names = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
      names = [f"gen.{alias.name}" for alias in node.names] if node.module == "gen" else [node.module]
    for name in names:
      words = name.split(".")
      if words[0] == "gen" and len(words) > 1:
        yield words[1], node.lineno


def upward(path):
  """Returns the imports of a file that run the wrong way."""
  here, found = part_of(path), []
  for there, line in imported(path):
    # gen/__init__.py names the public API for type checkers alone, and imports it when a name is used.
    if there == here or there not in FLOOR_OF or here == "__init__":
      continue
    below = FLOOR_OF[there] < FLOOR_OF[here] or (here in FREE and there in FREE)
    if not below:
      found.append(f"{path.relative_to(ROOT)}:{line} imports gen.{there}")
  return found


def table_of_architecture():
  """Returns the packages of each row of the table in ARCHITECTURE.md."""
  rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
  return tuple({name for at, name in rows if int(at) == row} for row in range(len({at for at, _ in rows})))


def test_the_table_of_architecture_is_this_one():
  assert table_of_architecture() == tuple(names - {"__init__"} for names in FLOORS)


def test_every_part_of_gen_has_a_floor():
  parts = {part_of(path) for path in sources("gen")}
  assert parts <= set(FLOOR_OF), f"say in ARCHITECTURE.md and here where they stand: {parts - set(FLOOR_OF)}"


def test_imports_run_one_way():
  assert [arrow for path in sources("gen") for arrow in upward(path)] == []


def test_gen_imports_no_experiments_scripts_or_tests():
  outside = ("experiments", "scripts", "tests", "configs")
  for path in sources("gen"):
    for node in ast.walk(syntax_tree(path)):
      names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
      names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
      assert not [name for name in names if name.split(".")[0] in outside], path


def test_an_arrow_upward_would_be_seen(tmp_path, monkeypatch):
  house = tmp_path / "gen"
  for part in ("data", "models", "scaling"):
    (house / part).mkdir(parents=True)
  (house / "data/wrong.py").write_text(
    "import os\ndef f():\n  from gen.models import layers\n  import gen.scaling.fits\n"
  )
  (house / "scaling/right.py").write_text("from gen import data\nfrom gen.models import layers\n")
  monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
  assert upward(house / "data/wrong.py") == [
    "gen/data/wrong.py:3 imports gen.models",
    "gen/data/wrong.py:4 imports gen.scaling",
  ]
  assert upward(house / "scaling/right.py") == []


def imported_names(path):
  """Yields the dotted name of all that a file imports, wherever in it."""
  for node in ast.walk(syntax_tree(path)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows_between_packages(package):
  """Returns {(package, the package it imports)} of the packages that lie in one package."""
  beside = {path.parent.name for path in package.glob("*/__init__.py")}
  prefix = ".".join(package.relative_to(ROOT).parts) + "."
  arrows = set()
  for here in beside:
    for path in (package / here).rglob("*.py"):
      names = (name for name in imported_names(path) if name.startswith(prefix))
      arrows |= {(here, name.removeprefix(prefix).split(".")[0]) for name in names}
  return {(here, there) for here, there in arrows if here != there and there in beside}


def circle(arrows):
  """Returns the packages from which no order of imports leads out."""
  left = set(arrows)
  while leaves := {there for _, there in left} - {here for here, _ in left}:
    left = {(here, there) for here, there in left if there not in leaves}
  return {here for here, _ in left}


def test_packages_beside_one_another_import_in_one_direction():
  packages = {path.parent for path in sources("gen") if path.name == "__init__.py"} - {ROOT / "gen"}
  circles = {str(package): circle(arrows_between_packages(package)) for package in packages}
  assert not {package: names for package, names in circles.items() if names}


def test_a_circle_of_packages_would_be_seen(tmp_path, monkeypatch):
  for name, text in {
    "rows": "from gen.runs.laws import fit",
    "laws": "import gen.runs.rows.table",
    "plan": "",
  }.items():
    (tmp_path / "gen/runs" / name).mkdir(parents=True)
    (tmp_path / "gen/runs" / name / "__init__.py").write_text("")
    (tmp_path / "gen/runs" / name / "module.py").write_text(text + "\nfrom gen.runs.plan import budgets\n")
  monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
  arrows = arrows_between_packages(tmp_path / "gen/runs")
  assert arrows == {("rows", "laws"), ("laws", "rows"), ("rows", "plan"), ("laws", "plan")}
  assert circle(arrows) == {"rows", "laws"}
  assert circle(arrows - {("rows", "laws")}) == set()


def test_no_folder_of_gen_holds_more_than_twenty_modules():
  folders = {path.parent for path in sources("gen")}
  modules = {
    folder: len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) for folder in folders
  }
  assert not {str(folder): count for folder, count in modules.items() if count > MAX_MODULES}


def test_the_folders_of_tests_mirror_those_of_gen():
  """A test that has the name of a module lies in the folder of that module, within each package of gen."""
  astray = []
  for test in sources("tests"):
    package, *_ = test.relative_to(ROOT / "tests").parts
    modules = [path for path in sources(f"gen/{package}") if f"test_{path.name}" == test.name]
    beside = [
      path
      for path in modules
      if path.parent.relative_to(ROOT / "gen") == test.parent.relative_to(ROOT / "tests")
    ]
    astray += [f"{test} tests {modules[0]}"] if modules and not beside else []
  assert not astray


def test_no_file_is_longer_than_four_hundred_lines():
  long = {
    str(path.relative_to(ROOT)): lines
    for path in sources("gen", "experiments", "scripts", "configs", "tests")
    if (lines := len(path.read_text().splitlines())) > LONGEST
  }
  assert not long


def test_an_experiment_is_short():
  """What an experiment prints, and flags that others share, belong to the packages of gen."""
  lines = {path.name: len(path.read_text().splitlines()) for path in sources("experiments")}
  assert not {name: count for name, count in lines.items() if count > LONGEST_EXPERIMENT}


def test_nothing_is_called_utils():
  vague = {"util", "utils", "helper", "helpers", "common", "misc"}
  assert not [
    path
    for path in sources("gen", "experiments", "scripts", "tests")
    if vague & set(path.with_suffix("").parts)
  ]


LIGHT = """
import sys
import gen, gen.config, gen.presets, gen.config.validation, gen.cli.launch, gen.counts, gen.batch, gen.versions
import gen.data.objectives
print([name for name in ("jax", "flax", "scipy", "matplotlib", "orbax") if name in sys.modules])
"""


def test_importing_gen_imports_no_jax():
  done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"


def loaded(path):
  spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize("path", sources("configs"), ids=lambda path: path.stem)
def test_every_file_in_configs_builds_and_opens_with_its_command(path):
  module = loaded(path)
  config = module.get_config()
  assert f"--config=configs/{path.name}" in module.__doc__ or "experiments/" in module.__doc__
  if isinstance(config, Atlas):
    from gen.scaling.atlas import atlas_checks

    assert list(atlas_checks.check_atlas(config, ATLAS_FAMILIES)) == list(ATLAS_FAMILIES)
    return
  if isinstance(config, Sweep):
    from gen.scaling.sweeps import design

    design.check_sweep(config)  # its widths take the place of the model's own
    assert design.expand_sweep(config, 260)
    return
  if isinstance(config, Curation):
    check_curation(config)
    return
  if isinstance(config, DomainStudy | CurationStudy):
    (check_domain_study if isinstance(config, DomainStudy) else check_curation_study)(config)
    return
  validation.check_run(config)
  if not isinstance(config, Run):
    return
  from gen.models import language_model
  from gen.training import loop

  row = loop.row_length(config)
  config.model.vocab = config.model.vocab or 4_200
  config.model.context = config.model.context or max(row.target, row.source)
  if config.model.family in ("encoder", "decoder", "encoder_decoder"):
    assert language_model.parameter_shapes(config.model)


@pytest.mark.parametrize("name", presets.preset_names())
def test_every_preset_is_a_run_that_its_objective_can_train(name):
  from gen.training import loop

  run = loaded(ROOT / "configs/preset.py").get_config(name)
  validation.check_run(run)
  row = loop.row_length(run)
  longest = max(row.target, row.source)
  assert longest <= (run.model.context or longest)
