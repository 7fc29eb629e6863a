"""Every flag of every experiment and script: bad numbers and bad places are one sentence, before any work."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WALK = Path(__file__).with_name("flag_walk.py")
PROGRAM = """
from absl import flags
flags.DEFINE_integer("number", 1, "Without bounds.")
flags.DEFINE_string("json", "", "Without a check.")
"""


def walk(*paths):
  """Returns the faults of the flags of programs."""
  done = subprocess.run([sys.executable, WALK, *map(str, paths)], capture_output=True, text=True, cwd=ROOT)
  assert done.returncode == 0, done.stderr[-3000:]
  return [line for line in done.stdout.splitlines() if line]


def test_no_flag_takes_a_bad_number_or_a_bad_place():
  programs = [
    path
    for folder in ("experiments", "scripts")
    for path in sorted((ROOT / folder).glob("*.py"))
    if "from absl import" in path.read_text()
  ]
  assert len(programs) > 20
  assert walk(*programs) == []


def test_flags_without_bounds_or_checks_would_be_seen(tmp_path):
  (tmp_path / "program.py").write_text(PROGRAM)
  assert walk(tmp_path / "program.py") == [
    "program --json is not checked; define it with gen.io.outputs",
    "program --number has no bounds; define it with gen.io.quantities",
  ]
