"""Settings of a sweep are fixed once one of its members has begun, and not by an attempt that trained nothing."""

import dataclasses

import pytest

from gen.errors import UserError
from gen.finetuning import finetune, sweep_members, sweeps
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.sweep_members import SweepMember

SETTINGS = FinetuneSettings("classify", "runs/start", "texts.csv")
CHANGED = dataclasses.replace(SETTINGS, long="truncate")


def claim(folder, settings):
  """Writes the files with which a sweep of one member begins."""
  sweeps._claim(folder, settings)
  sweep_members._write_members(folder, {"rate_0.1_seed_0": SweepMember(settings)})


def test_a_sweep_whose_members_all_failed_before_training_takes_other_settings(tmp_path):
  claim(tmp_path, SETTINGS)
  (tmp_path / "rate_0.1_seed_0").mkdir()
  (tmp_path / "rate_0.1_seed_0" / ".lock").touch()
  claim(tmp_path, CHANGED)
  assert sweep_members.read_member(tmp_path / "rate_0.1_seed_0").settings.long == "truncate"


def test_a_sweep_with_a_member_that_trains_keeps_its_settings(tmp_path):
  claim(tmp_path, SETTINGS)
  (tmp_path / "rate_0.1_seed_0").mkdir()
  (tmp_path / "rate_0.1_seed_0" / finetune.SETTINGS).write_text("{}")
  with pytest.raises(UserError, match=r"holds another sweep \(long: '' -> 'truncate'\)"):
    claim(tmp_path, CHANGED)
  claim(tmp_path, SETTINGS)
