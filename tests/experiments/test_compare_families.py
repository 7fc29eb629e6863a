"""The command: mistakes are one sentence and exit code 2, before anything is built."""

from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    (["--families=decoder,bert"], "--families=decoder,bert: choose from decoder, encoder, encoder_decoder, lstm"),
    (["--config.lstm.data.length=64"], "config.decoder.data.length is 128, config.lstm.data.length 64"),
    (["--config.decoder.budgetz=(1e9,)"], "no field 'decoder.budgetz'; the nearest is --config.decoder.budgets"),
    (["--config=configs/decoder.py"], "--config holds a config of type Run; this experiment needs Atlas"),
  ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(flags, sentence, tmp_path):
  done = programs.run(["experiments/compare_families.py", *flags, f"--workdir={tmp_path / 'atlas'}"])
  assert done.returncode == 2 and sentence in done.stderr and not done.stdout
  assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "atlas").exists()
