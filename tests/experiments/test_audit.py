"""The command, through its own entry: a table of runs in, a grade and an exit code out."""

import json

import numpy as np
import pytest

from gen.cli import launch
from gen.scaling.laws.loss_law.law import HOFFMANN_2022

EXPERIMENT = "audit.py"
pytestmark = pytest.mark.optimized  # the solver runs for longer than it compiles


def table(path, diverged=False, one_ratio=False):
  random, lines = np.random.default_rng(1), ["params,tokens,loss,flops,params_total"]
  for flops in (1e19, 3e19, 1e20, 3e20):
    for n in HOFFMANN_2022.optimum(flops)[0] * np.geomspace(0.3, 3.5, 6):
      d = 20 * n if one_ratio else flops / 6 / n
      loss = HOFFMANN_2022.loss(n, d) * np.exp(random.normal(0, 0.001))
      lines.append(f"{n},{d},{loss},{6 * n * d},{1.02 * n}")
  if diverged:
    cells = lines[9].split(",")
    lines[9] = ",".join([*cells[:2], str(1.3 * float(cells[2])), *cells[3:]])
  path.write_text("\n".join(lines))
  return path


def test_a_sound_study_gets_an_a_and_a_broken_one_its_reasons(run, tmp_path):
  code, out, err = run(f"--runs={table(tmp_path / 'sound.csv')}", "--bootstraps=60")
  assert code == 0, err
  assert out.startswith("grade A: 0 alarms") and "conventions" in out
  path = table(tmp_path / "broken.csv", diverged=True)
  code, out, err = run(f"--runs={path}", "--bootstraps=60", "--json=-")
  report = json.loads(out)
  assert code == 0 and "outliers" in report["alarms"] and report["grade"] != "A"
  assert report["columns"] == ["'params' is taken for N, not 'params_total' (--params_column chooses)"]
  (finding,) = (one for one in report["findings"] if one["name"] == "outliers")
  assert "row 9" in finding["sentence"]
  code, out, err = run(
    f"--runs={path}", "--bootstraps=60", "--exclude_top_losses=1", "--other_params=params_total"
  )
  assert code == 0 and out.splitlines()[0].startswith("grade A"), out
  assert f"{path}: 'params' is taken for N, not 'params_total'" in err


def test_runs_at_one_ratio_are_refused_with_the_reason(run, tmp_path):
  code, out, err = run(f"--runs={table(tmp_path / 'runs.csv', one_ratio=True)}", "--json=-")
  assert code == launch.USER_MISTAKE and out == ""
  assert "refused" in err and "D = 20 N" in err and err.count("\n") == 1


@pytest.mark.parametrize(
  ("words", "said"),
  [
    ([], "--runs=FILE.csv"),
    (["--runs=nowhere.csv"], "no such file"),
    (["--bootstraps=2"], "bootstraps is 2"),
    (["--other_params=params_tot"], "params_total"),
    (["--delta=0"], "delta"),
    (["--exclude_top_losses=99"], "leave out 99 of 24"),
    (["--json=absent/out.json"], "absent"),
    (["--lossy=1"], "lossy"),
  ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(run, tmp_path, words, said):
  path = table(tmp_path / "runs.csv")
  given = words if not words or words[0].startswith("--runs") else [f"--runs={path}", *words]
  code, out, err = run(*given)
  assert code == launch.USER_MISTAKE and out == ""
  assert err.startswith("error: ") and err.count("\n") == 1 and said in err, err
