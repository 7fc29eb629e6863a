"""Curves read from journals that were written by hand, so that every number is known."""

import json

import pytest

from gen.errors import UserError
from gen.evaluation import run_curves, run_curves_figure
from gen.training.run_log.journal import Journal
from scripts import plot_runs


def write_run(folder, name="first", width=8, rows=3, finished=True):
  """A journal of a run that reads 100 tokens a step at 50 tokens a second; its loss is 4 - step / 10."""
  config = {
    "name": name,
    "model": {"width": width, "depth": 2},
    "optimizer": {"clip": 1.0},
    "data": {"cache": name},
  }
  stamp = {"run": f"{name}-{width}", "name": name}
  with Journal(folder / "journal.jsonl") as journal:
    for step in range(1, rows + 1):
      progress = {"step": step, "tokens": 100 * step, "flops": 600.0 * step * width}
      measured = {
        "loss": 4 - step / 10,
        "tokens_per_second": 50.0,
        "learning_rate": 0.1,
        "gradient_norm": 2.0,
      }
      journal.append({"kind": "train"} | stamp | progress | measured)
    evaluation = {"step": rows, "tokens": 100 * rows, "flops": 600.0 * rows * width, "loss": 3.25}
    journal.append({"kind": "evaluation"} | stamp | evaluation)
    if finished:
      journal.append({"kind": "result", "config": config} | stamp | evaluation)
  return folder


@pytest.fixture
def folders(tmp_path):
  return [
    write_run(tmp_path / "a", "first", 8),
    write_run(tmp_path / "b", "second", 16, rows=5),
  ]


def test_the_points_of_a_run_are_its_journals_rows_with_the_seconds_of_training(folders):
  first, second = run_curves.read_runs(folders)
  assert [point.loss for point in first.train] == pytest.approx([3.9, 3.8, 3.7])
  assert [point.seconds for point in second.train] == pytest.approx([2, 4, 6, 8, 10])
  assert [(point.steps, point.seconds, point.loss) for point in second.evaluation] == [(5, 10.0, 3.25)]
  assert first.finished and second.config["model.width"] == 16


def test_what_differs_is_named_and_what_is_only_a_name_is_not(folders):
  assert run_curves.config_differences(run_curves.read_runs(folders)) == {"model.width": [8, 16]}


def test_a_loss_that_was_not_finite_leaves_a_gap(tmp_path):
  write_run(tmp_path, rows=2, finished=False)
  with Journal(tmp_path / "journal.jsonl") as journal:
    journal.append(
      {"kind": "train", "run": "first-8", "step": 3, "tokens": 300, "flops": 1.0, "loss": float("nan")}
    )
  (run,) = run_curves.read_runs([tmp_path])
  assert [point.steps for point in run.train] == [1, 2] and not run.finished


def test_the_runs_of_a_sweep_are_in_one_journal(tmp_path):
  write_run(tmp_path, "narrow", 8)
  write_run(tmp_path, "wide", 16)
  assert [run.name for run in run_curves.read_runs([tmp_path])] == ["narrow", "wide"]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
  write_run(tmp_path / "x", "same")
  write_run(tmp_path / "y", "same")
  assert [run.name for run in run_curves.read_runs([tmp_path / "x", tmp_path / "y"])] == ["x/same", "y/same"]


def test_a_folder_without_a_journal_or_a_measured_step_is_one_sentence(tmp_path):
  with pytest.raises(UserError, match=r"has no journal.jsonl; give the --workdir of a run or of a sweep"):
    run_curves.read_runs([tmp_path])
  with Journal(tmp_path / "journal.jsonl") as journal:
    journal.append({"kind": "start", "run": "x"})
  with pytest.raises(UserError, match="has no measured step yet"):
    run_curves.read_runs([tmp_path])


@pytest.mark.parametrize("x", run_curves.AXES)
def test_a_figure_holds_each_curve_against_each_axis(folders, x):
  runs = run_curves.read_runs(folders)
  (axes,) = run_curves_figure.draw_runs(runs, x).axes
  assert [list(line.get_xdata()) for line in axes.lines[::2]] == [
    [getattr(point, x) for point in run.train] for run in runs
  ]


def test_the_script_prints_a_table_and_writes_a_picture_a_page_and_json(folders, tmp_path, capsys):
  outputs = {name: tmp_path / f"runs.{name}" for name in ("png", "html", "json")}
  words = [
    *map(str, folders),
    f"--plot={outputs['png']}",
    f"--html={outputs['html']}",
    f"--json={outputs['json']}",
  ]
  assert plot_runs.main([*words, "--x=tokens"]) == 0
  table = capsys.readouterr().out.splitlines()
  assert table[0].split() == ["run", "steps", "train", "loss", "validation", "loss", "model.width"]
  assert table[2].split() == ["second", "5", "3.5000", "3.2500", "16"]
  assert outputs["png"].read_bytes().startswith(b"\x89PNG")
  page = outputs["html"].read_text()
  assert page.count("<svg") == 4 and "model.width" in page and "http" not in page.split("<body>")[0]
  report = json.loads(outputs["json"].read_text())
  assert report["runs"][1]["train"]["tokens"] == [100, 200, 300, 400, 500]
  assert report["differences"] == {"model.width": [8, 16]}


@pytest.mark.parametrize(
  "flag", ["--plot=no/such/folder/x.png", "--html=no/such/x.html", "--json=no/such/x.json"]
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(folders, capsys, flag):
  assert plot_runs.main([str(folders[0]), flag]) == 2
  captured = capsys.readouterr()
  assert captured.err.startswith("error: --") and not captured.out


@pytest.mark.parametrize("field", ["step", "tokens", "flops", "loss", "tokens_per_second"])
@pytest.mark.parametrize("value", [None, [], {}, "x", True, 10**400, float("nan"), float("inf")])
def test_a_row_of_another_program_with_any_value_is_left_out_or_drawn(tmp_path, field, value):
  row = {
    "kind": "train",
    "run": "a",
    "step": 1,
    "tokens": 10,
    "flops": 1e3,
    "loss": 3.0,
    "tokens_per_second": 5.0,
  }
  rows = [row, row | {"step": 2, field: value}]
  (tmp_path / "journal.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
  (run,) = run_curves.read_runs([tmp_path])
  assert len(run.train) == (2 if field == "tokens_per_second" else 1)
  assert run_curves.summary_lines([run]) and run_curves.run_report(run)
