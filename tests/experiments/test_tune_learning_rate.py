"""The command: mistakes are one sentence and exit code 2, before anything is built."""

from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    (
      ["--config.learning_rate_multipliers=(1.0,2.0)"],
      "config.learning_rate_multipliers is (1.0, 2.0); give at least 3, so that they can enclose a best rate",
    ),
    (["--config.held_out_widths=(96,128)"], "a rule is verified at one width"),
    (["--config.budget_unit=epochs"], "config.budget_unit is 'epochs'"),
  ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(flags, sentence, tmp_path):
  done = programs.run(["experiments/tune_learning_rate.py", *flags, f"--workdir={tmp_path / 'tune'}"])
  assert done.returncode == 2 and sentence in done.stderr and not done.stdout
  assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "tune").exists()
