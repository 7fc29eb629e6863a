"""The runs of a sweep of one shape start from one checkpoint; sizes that it does not have are one sentence."""

import dataclasses

import pytest

from gen.config import Run, Sweep, config_hash
from gen.errors import UserError
from gen.scaling.sweeps import design
from gen.training import loop
from gen.training.run_folders import run_folder
from gen.training.run_log import journal


def sweep_from(run, folder, **fields):
  shared = {field.name: getattr(run, field.name) for field in dataclasses.fields(Run)} | {"steps": 0}
  width = run.model.width
  design_fields = {"budgets": (3.0, 5.0), "widths": ((width,), (width,)), "budget_unit": "steps"}
  return Sweep(**(shared | design_fields | {"name": "", "start_from": str(folder)} | fields))


@pytest.mark.slow
def test_runs_of_a_sweep_start_from_the_checkpoint_of_the_time_they_were_made(run, data, trained, tmp_path):
  folder, _ = trained(run)
  sweep = sweep_from(run, folder, learning_rate_multipliers=(0.5, 2.0))
  design.check_sweep(sweep)
  runs = design.expand_sweep(sweep, loop.complete_run(sweep, data).model.vocab)
  last = max(run_folder.saved_run(folder).steps, 1)
  assert len({config_hash(each) for each in runs}) == 4
  assert {each.start_from for each in runs} == {f"{folder}:{last}"}
  assert all(entry.startswith(f"start_from={last}:") for each in runs for entry in each.sources)
  shortest = min(runs, key=lambda each: each.flops)
  result = loop.train_run(shortest, tmp_path / "run", data)
  begun = [row for row in journal.read_journal(tmp_path / "run" / "journal.jsonl") if row["kind"] == "source"]
  assert result.run == config_hash(shortest)
  assert [row["step"] for row in begun] == [last]


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    (
      {"widths": ((18,), (24,))},
      "one shape, but config.widths holds 18, 24; keep the width of the checkpoint",
    ),
    ({"widths": ((42,), (42,))}, "has model.width"),
    ({"depths": ((0, 5),)}, "has model.depth"),
    ({"trunks": True}, "set config.trunks=False"),
    ({"start_from": "nowhere"}, "nowhere is no folder"),
  ],
)
def test_a_sweep_that_cannot_start_from_a_checkpoint_is_one_sentence(run, trained, fields, said):
  fields = {k: ((run.model.width, 5),) if k == "depths" else v for k, v in fields.items()}
  with pytest.raises(UserError) as caught:
    design.check_sweep(sweep_from(run, trained(run)[0], **fields))
  assert said in str(caught.value)
