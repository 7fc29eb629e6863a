"""Reports of memory: what a chip holds is judged, and each part of a report has a line."""

import pytest

from gen.costs import memory_report
from gen.errors import UserError

ACCOUNT = memory_report.StateAccount(3e6, "zero2", 4, "mixed", rows=8, length=32, microbatches=1)


def test_an_account_of_state_adds_up_and_every_part_has_a_line():
  report, lines = memory_report.report_state(ACCOUNT)
  parts = sum(getattr(report, f"{name}_bytes_per_device") for name in memory_report.PARTS)
  assert parts == pytest.approx(report.state_bytes_per_device)
  assert report.step_bytes_per_device > report.step_bytes_per_device_full_remat > parts
  assert [line.split()[0] for line in lines[1:6]] == ["parameters", "gradients", "opt", "master", "state"]


@pytest.mark.parametrize(("memory", "verdict"), [(100, "does not fit"), (10**12, "fits")])
def test_a_step_fits_onto_a_chip_or_not(memory, verdict):
  report, _ = memory_report.report_state(ACCOUNT)
  report, sentence = memory_report.judge_fit(report, "h100", memory)
  assert sentence.endswith(f"GiB of one h100: {verdict}, by this account")
  assert report.fits == (verdict == "fits") and report.memory_bytes_per_device == memory


@pytest.mark.slow
def test_a_run_of_a_preset_has_the_flags_sizes_and_a_line_per_policy():
  run = memory_report.preset_run("t5-small", "data=2,fsdp=4", "zero3", 24, 0, 5, "float32", "dots")
  assert (run.data.batch, run.data.length, run.model.remat, run.model.dtype) == (40, 24, "dots", "float32")
  report = memory_report.report_run(run, "t5-small", 8, "float32", compiles=False)
  lines = memory_report.run_lines(report)
  assert [line.split()[1] for line in lines if line.startswith("  remat")] == ["none", "dots", "full"]
  assert report.peak_bytes_per_device == report.remat_policies["dots"].peak_bytes_per_device
  assert report.compiler is None


def test_a_preset_that_does_not_exist_is_one_sentence():
  with pytest.raises(UserError, match="there is no preset 'gtp2'"):
    memory_report.preset_run("gtp2", "", "ddp", 0, 0, 1, "mixed", "none")
