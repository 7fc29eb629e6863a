import dataclasses
import subprocess
import sys

import pytest

from gen import config
from gen.cli import field_help


@dataclasses.dataclass
class Inner:
  rate: float = 0.5  # per step


@dataclasses.dataclass
class Outer:
  # Named above,
  # in two lines.
  name: str = "a"
  bare: int = 3
  inner: Inner = dataclasses.field(default_factory=Inner)


def test_a_field_has_its_path_type_default_and_comment():
  assert list(field_help.field_rows(Outer)) == [
    ("name", "str", "'a'", "Named above, in two lines."),
    ("bare", "int", "3", ""),
    ("inner.rate", "float", "0.5", "per step"),
  ]


def test_values_of_a_config_take_the_place_of_defaults():
  shown = {
    row.path: row.default for row in field_help.field_rows(Outer, Outer(bare=7, inner=Inner(rate=2.0)))
  }
  assert shown == {"name": "'a'", "bare": "7", "inner.rate": "2.0"}


@pytest.mark.parametrize("kind", [config.Run, config.Sweep, config.Atlas])
def test_every_field_of_every_config_says_what_it_means(kind):
  assert [row.path for row in field_help.field_rows(kind) if not row.meaning] == []


def test_no_line_of_help_is_wider_than_asked():
  prose = [
    line for line in field_help.help_lines(config.Run, width=60) if not line.lstrip().startswith("--config")
  ]
  assert max(map(len, prose[1:])) <= 60


def test_help_of_an_experiment_shows_its_fields():
  words = [sys.executable, "experiments/pretrain.py", "--help"]
  done = subprocess.run(words, capture_output=True, text=True)
  assert done.returncode == 0
  assert "--config.optimizer.beta2  (float, default 0.98)" in done.stdout
