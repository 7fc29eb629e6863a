import dataclasses

import pytest

from gen import presets
from gen.config import Model
from gen.errors import UserError
from gen.training import memory_check


def test_a_model_that_no_memory_here_holds_is_refused_with_both_sizes():
  with pytest.raises(UserError, match=r"174,604,259,328 parameters.* take 2,794 GB; this machine has \d+ GB"):
    memory_check.check_fits_in_memory(presets.get_model("gpt3-175b"))


def test_what_just_fits_is_let_through(monkeypatch):
  model = Model(family="decoder", vocab=11, width=8, depth=1, head_width=4, positions="none")
  parameters = 12 * 8**2 + 3 * 8 + 11 * 8 * (1 if model.tied else 2)
  monkeypatch.setattr(memory_check, "machine_bytes", lambda: 16 * parameters)
  memory_check.check_fits_in_memory(model)
  with pytest.raises(UserError, match="choose a smaller model"):
    memory_check.check_fits_in_memory(dataclasses.replace(model, width=16))


def test_a_containers_limit_counts(tmp_path, monkeypatch):
  (tmp_path / "limit").write_text("12345\n")
  (tmp_path / "none").write_text("max\n")
  monkeypatch.setattr(
    memory_check, "LIMITS", (str(tmp_path / "limit"), str(tmp_path / "none"), str(tmp_path / "no"))
  )
  assert memory_check.machine_bytes() == 12345
