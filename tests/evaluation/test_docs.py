"""The page on prompting says what is so: its code runs, and what it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "prompting.md").read_text()


def test_the_code_of_the_page_runs():
  blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
  assert len(blocks) >= 5
  names = {}
  for block in blocks:
    exec(compile(block, "docs/prompting.md", "exec"), names)


def test_the_commands_of_the_page_exist_with_their_flags():
  commands = re.findall(r"uv run (?:--extra \w+ )?(experiments/\w+\.py)([^`\n]*)", PAGE)
  assert len(commands) >= 5
  for script, words in commands:
    known = (ROOT / script).read_text()
    for flag in re.findall(r"--(\w+)", words):
      of_config = flag == "config" and "launch.run_experiment(main, Run" in known
      assert of_config or f'"{flag}"' in known, (script, flag)
