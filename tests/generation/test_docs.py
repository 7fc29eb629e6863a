"""The page on generation says what is so: its code runs, and what it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "generation.md").read_text()


def test_the_code_of_the_page_runs():
  blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
  assert len(blocks) >= 5
  names = {}
  for block in blocks:
    exec(compile(block, "docs/generation.md", "exec"), names)


def test_the_commands_of_the_page_name_flags_that_exist():
  scripts = ("experiments/generate.py", "experiments/pretrain.py", "scripts/benchmark_generate.py")
  known = "".join((ROOT / script).read_text() for script in scripts)
  for flag in set(re.findall(r"--(\w+)", PAGE)) - {"config"}:
    assert f'"{flag}"' in known, flag


def test_the_settings_of_the_page_are_those_of_the_sampler():
  from gen.generation.sampling import Sampler

  for name, value in re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", PAGE, re.MULTILINE):
    assert getattr(Sampler(), name) == float(value)
