"""The command, through its own entry: flags in, text or JSON and an exit code out."""

import csv
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gen.cli import launch

ROOT = Path(__file__).parents[2]
EXPERIMENT = "fit_scaling_law.py"
pytestmark = pytest.mark.optimized  # the solver runs for longer than it compiles
LAW = {"E": 1.61, "A": 312.0, "B": 518.0, "alpha": 0.331, "beta": 0.297}


def simulate(count=43, noise=0.0, seed=5):
  random = np.random.default_rng(seed)
  params = np.exp(random.uniform(np.log(3e6), np.log(7e8), count))
  tokens = params * np.exp(random.uniform(np.log(4), np.log(150), count))
  loss = LAW["E"] + LAW["A"] / params ** LAW["alpha"] + LAW["B"] / tokens ** LAW["beta"]
  return {"params": params, "tokens": tokens, "loss": loss * np.exp(random.normal(0, noise, count))}


def isoflop_runs(sizes=6, noise=0.001):
  """Runs of four budgets round their optima."""
  random, rows = np.random.default_rng(8), []
  a = LAW["beta"] / (LAW["alpha"] + LAW["beta"])
  ratio = LAW["alpha"] * LAW["A"] / (LAW["beta"] * LAW["B"])
  for flops in (1e17, 4e17, 2e18, 7e18):
    best = ratio ** (1 / (LAW["alpha"] + LAW["beta"])) * (flops / 6) ** a
    for factor in np.geomspace(0.3, 3.1, sizes):
      tokens = flops / (6 * best * factor)
      loss = LAW["E"] + LAW["A"] / (best * factor) ** LAW["alpha"] + LAW["B"] / tokens ** LAW["beta"]
      rows.append((best * factor, tokens, loss * np.exp(random.normal(0, noise)), flops))
  return dict(zip(("params", "tokens", "loss", "flops"), np.array(rows).T, strict=True))


def table(path, columns):
  with path.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
  return path


def report_of(answer):
  code, out, err = answer
  assert code == 0, err
  return json.loads(out)


def test_a_known_law_comes_back_to_six_digits_with_the_promised_keys(run, tmp_path):
  path = table(tmp_path / "runs.csv", simulate())
  report = report_of(run(f"--runs={path}", "--approach=parametric", "--bootstraps=0", "--json=-"))
  for name, value in LAW.items():
    assert report[name] == pytest.approx(value, rel=1e-6)
  assert report["a"] == pytest.approx(LAW["beta"] / (LAW["alpha"] + LAW["beta"]), rel=1e-6)
  assert report["a"] + report["b"] == pytest.approx(1)
  assert report["n"] == 43 and report["ci95"] == {} and report["warnings"] == []
  assert report["objective"] < 1e-20 and report["gradient_norm"] <= 1e-10
  assert 1 <= report["starts_at_best"] <= report["starts"] == 4500


def test_the_objective_is_the_sum_of_huber_losses(run, tmp_path):
  columns = simulate(31, noise=0.004)
  path = table(tmp_path / "runs.csv", columns)
  law = report_of(run(f"--runs={path}", "--bootstraps=0", "--delta=2e-3", "--json=-"))
  predicted = (
    law["E"] + law["A"] / columns["params"] ** law["alpha"] + law["B"] / columns["tokens"] ** law["beta"]
  )
  sizes = np.abs(np.log(predicted) - np.log(columns["loss"]))
  total = sum(0.5 * r * r if r <= 2e-3 else 2e-3 * (r - 1e-3) for r in sizes)
  assert law["objective"] == pytest.approx(total, rel=1e-9)


def test_json_goes_to_a_file_and_the_same_seed_gives_the_same_file(run, tmp_path):
  path = table(tmp_path / "runs.csv", simulate(noise=0.003))
  texts = []
  for seed, name in ((3, "one"), (3, "two"), (4, "three")):
    code, out, _ = run(f"--runs={path}", "--bootstraps=60", f"--seed={seed}", f"--json={tmp_path / name}")
    assert code == 0 and "parametric" in out
    texts.append((tmp_path / name).read_text())
  assert texts[0] == texts[1] != texts[2]
  report = json.loads(texts[0])
  for name in ("E", "A", "B", "alpha", "beta", "a", "b"):
    low, high = report["ci95"][name]
    assert low < report[name] < high


def test_all_gives_each_approach_and_the_parametric_constants_on_top(run, tmp_path):
  path = table(tmp_path / "runs.csv", isoflop_runs())
  report = report_of(run(f"--runs={path}", "--approach=all", "--bootstraps=40", "--json=-"))
  want = LAW["beta"] / (LAW["alpha"] + LAW["beta"])
  assert report["parametric"]["E"] == report["E"] and report["parametric"]["n"] == report["n"] == 24
  for name, within in (("parametric", 0.03), ("isoflop", 0.03), ("envelope", 0.15)):
    assert report[name]["a"] == pytest.approx(want, abs=within), name
    assert set(report[name]["ci95"]) >= {"a", "b"}
  assert len(report["isoflop"]["valleys"]) == 4


def test_an_approach_without_data_leaves_the_reason_among_the_warnings(run, tmp_path):
  path = table(tmp_path / "runs.csv", simulate(9))
  report = report_of(run(f"--runs={path}", "--approach=all", "--bootstraps=0", "--json=-"))
  assert "isoflop" in "".join(report["warnings"]) and "error" in report["isoflop"]


def test_without_json_a_person_gets_a_table(run, tmp_path):
  path = table(tmp_path / "runs.csv", isoflop_runs())
  code, out, _ = run(f"--runs={path}", "--approach=all", "--bootstraps=30")
  assert code == 0
  for words in (
    "24 runs",
    "3 parametric",
    "2 IsoFLOP",
    "1 envelope",
    "alpha",
    "95 % interval",
    "4,500 starts",
  ):
    assert words in out


def test_columns_may_have_other_names_and_any_order(run, tmp_path):
  columns = isoflop_runs()
  path = table(tmp_path / "plain.csv", columns)
  renamed = {"L": columns["loss"], "what": columns["loss"] * 0, "C": columns["flops"]}
  renamed |= {"D": columns["tokens"], "N": columns["params"]}
  other = table(tmp_path / "renamed.csv", renamed)
  names = ("--params_column=N", "--tokens_column=D", "--loss_column=L", "--flops_column=C")
  first = report_of(run(f"--runs={path}", "--bootstraps=0", "--json=-"))
  second = report_of(run(f"--runs={other}", "--bootstraps=0", "--json=-", *names))
  assert first["E"] == pytest.approx(second["E"], rel=1e-9)
  assert first["columns"] == [] and "'L' is taken for the loss" in second["columns"]


def test_the_convention_says_how_compute_is_counted(run, tmp_path):
  columns = isoflop_runs()
  path = table(tmp_path / "runs.csv", columns | {"flops": 1.25 * columns["flops"]})
  given = report_of(run(f"--runs={path}", "--bootstraps=0", "--json=-"))
  counted = report_of(run(f"--runs={path}", "--bootstraps=0", "--json=-", "--convention=6nd"))
  assert (given["k"], counted["k"]) == (pytest.approx(7.5), 6)
  assert given["a"] == pytest.approx(counted["a"], rel=1e-9)
  assert given["N_coefficient"] == pytest.approx(counted["N_coefficient"] / 1.25 ** given["a"], rel=1e-9)


def test_the_highest_losses_can_be_left_out(run, tmp_path):
  columns = simulate(27, noise=0.002)
  path = table(tmp_path / "runs.csv", columns)
  kept = np.sort(np.argsort(columns["loss"])[:-4])
  few = table(tmp_path / "few.csv", {name: values[kept] for name, values in columns.items()})
  first = report_of(run(f"--runs={path}", "--exclude_top_losses=4", "--bootstraps=0", "--json=-"))
  second = report_of(run(f"--runs={few}", "--bootstraps=0", "--json=-"))
  assert first["n"] == 23 and first["B"] == second["B"]


def journal_of(path):
  """Writes a sweep's journal of four budgets, the last held out; returns the result rows."""
  columns, rows = isoflop_runs(), []
  for i, (params, tokens, loss, flops) in enumerate(zip(*columns.values(), strict=True)):
    for part in (0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0):
      so_far = LAW["E"] + LAW["A"] / params ** LAW["alpha"] + LAW["B"] / (part * tokens) ** LAW["beta"]
      rows.append({"kind": "train", "run": f"{i:04x}", "step": int(100 * part), "flops": part * flops,
                   "tokens": part * tokens, "loss": so_far * (1.02 - 0.02 * part)})  # fmt: skip
    rows.append({"kind": "result", "run": f"{i:04x}", "name": f"run-{i}", "params": params, "tokens": tokens,
                 "loss": loss, "flops": flops, "budget": flops, "held_out": bool(flops == 7e18)})  # fmt: skip
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return [row for row in rows if row["kind"] == "result"]


def test_a_journal_and_its_results_give_the_law_of_the_table(run, tmp_path):
  results = journal_of(tmp_path / "journal.jsonl")
  (tmp_path / "results.json").write_text(json.dumps({"points": results}))
  used = [row for row in results if not row["held_out"]]
  table(tmp_path / "runs.csv", {name: [row[name] for row in used] for name in ("params", "tokens", "loss")})
  names = ("journal.jsonl", "results.json", "runs.csv")
  reports = [report_of(run(f"--runs={tmp_path / name}", "--bootstraps=0", "--json=-")) for name in names]
  assert [(report["n"], report["held_out"]) for report in reports] == [(18, 6), (18, 6), (18, 0)]
  assert reports[0]["E"] == reports[1]["E"] == reports[2]["E"]


def test_a_journals_train_rows_feed_the_envelope(run, tmp_path):
  journal_of(tmp_path / "journal.jsonl")
  words = (f"--runs={tmp_path / 'journal.jsonl'}", "--approach=envelope", "--bootstraps=0", "--json=-")
  report = report_of(run(*words))
  assert report["form"] == "curves" and report["n"] == 18
  assert {"flops", "params", "tokens", "loss"} == set(report["frontier"][0])
  halved = report_of(run(*words, "--convention=6nd"))
  assert halved["a"] == pytest.approx(report["a"], abs=1e-6)


def test_a_journal_torn_by_a_crash_is_read_and_a_broken_line_is_named(run, tmp_path):
  path = tmp_path / "journal.jsonl"
  journal_of(path)
  whole = path.read_text()
  path.write_text(whole + '{"kind": "train", "ru')
  assert report_of(run(f"--runs={path}", "--bootstraps=0", "--json=-"))["n"] == 18
  path.write_text(whole.replace('{"kind"', '{"kind', 1))
  code, _, err = run(f"--runs={path}")
  assert code == launch.USER_MISTAKE and "line 1" in err and "not JSON" in err


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"loss": (6, math.nan)}, ["loss", "row 7 (line 8)"]),
    ({"loss": (2, 0.0)}, ["loss", "above zero", "row 3"]),
    ({"loss": (4, -1.5)}, ["loss", "-1.5", "row 5"]),
    ({"tokens": (0, 0.0)}, ["tokens", "row 1"]),
    ({"tokens": (11, math.inf)}, ["tokens", "row 12"]),
    ({"params": (9, -3e6)}, ["params", "row 10"]),
    ({"params": (9, "many")}, ["params", "row 10", "many"]),
    ({"loss": (3, "")}, ["loss", "row 4"]),
  ],
)
def test_bad_values_name_their_rows(run, tmp_path, change, words):
  columns = {name: list(values) for name, values in simulate(15).items()}
  for name, (row, value) in change.items():
    columns[name][row] = value
  code, out, err = run(f"--runs={table(tmp_path / 'runs.csv', columns)}", "--json=-")
  assert code == launch.USER_MISTAKE and out == ""
  assert err.count("\n") == 1 and all(word in err for word in words), err


def constant(name, count=15):
  columns = simulate(count)
  return columns | {name: np.full(count, columns[name][0])}


@pytest.mark.parametrize(
  ("columns", "words"),
  [
    (lambda: simulate(4), "5 constants"),
    (lambda: {name: np.repeat(values, 5) for name, values in simulate(4).items()}, "5 constants"),
    (lambda: constant("params"), "params is the same"),
    (lambda: constant("tokens"), "tokens is the same"),
    (lambda: constant("loss"), "loss is the same"),
    (lambda: simulate() | {"tokens": 20 * simulate()["params"]}, "D = 20 N"),
    (lambda: {"param": [1e6], "tokens": [2e7], "loss": [3.0]}, "nearest is 'param'"),
    (lambda: {"params": [], "tokens": [], "loss": []}, "no rows"),
  ],
)
def test_data_that_cannot_carry_the_law_are_refused_in_one_sentence(run, tmp_path, columns, words):
  code, out, err = run(f"--runs={table(tmp_path / 'runs.csv', columns())}", "--json=-")
  assert code == launch.USER_MISTAKE and out == ""
  assert err.count("\n") == 1 and words in err, err


@pytest.mark.parametrize(
  ("words", "said"),
  [
    ([], "--runs=FILE.csv"),
    (["--runs=nowhere.csv"], "no such file"),
    (["--runs=."], "cannot read"),
    (["--delta=0"], "delta"),
    (["--delta=nan"], "delta"),
    (["--delta=small"], "delta"),
    (["--bootstraps=-1"], "bootstraps"),
    (["--level=95"], "level"),
    (["--approach=guess"], "approach"),
    (["--exclude_top_losses=43"], "leave out 43 of 43"),
    (["--cluster=seed"], "seed"),
    (["--json=absent/out.json"], "absent"),
    (["--jsn=-"], "json"),
    (["--flops_column=compute"], "compute"),
    (["stray"], "stray"),
  ],
)
def test_a_mistake_in_the_command_is_one_sentence_and_exit_code_2(run, tmp_path, words, said):
  path = table(tmp_path / "runs.csv", simulate())
  given = words if not words or words[0].startswith("--runs") else [f"--runs={path}", *words]
  code, out, err = run(*given)
  assert code == launch.USER_MISTAKE and out == ""
  last = err.splitlines()[-1]  # below what was understood of the table
  assert last.startswith("error: ") and err.count("error: ") == 1 and said in last, err


def test_one_budget_only_is_said(run, tmp_path):
  columns = isoflop_runs(12)
  only = columns["flops"] == 4e17
  path = table(tmp_path / "runs.csv", {name: values[only] for name, values in columns.items()})
  report = report_of(run(f"--runs={path}", "--bootstraps=50", "--json=-"))
  assert any("one budget" in warning for warning in report["warnings"])
  code, _, err = run(f"--runs={path}", "--approach=isoflop")
  assert code == launch.USER_MISTAKE and "budget" in err


def test_integers_beyond_64_bits_are_numbers(run, tmp_path):
  columns = simulate(19)
  whole = {name: [int(v * 2**40) for v in columns[name]] for name in ("params", "tokens")}
  whole["flops"] = [6 * n * d for n, d in zip(whole["params"], whole["tokens"], strict=True)]
  assert min(whole["flops"]) > 2**63
  path = table(tmp_path / "runs.csv", whole | {"loss": columns["loss"]})
  report = report_of(run(f"--runs={path}", "--bootstraps=0", "--json=-"))
  assert report["E"] == pytest.approx(LAW["E"], rel=1e-6)
  assert report["A"] == pytest.approx(LAW["A"] * 2 ** (40 * LAW["alpha"]), rel=1e-6)


def test_a_page_has_the_audit_and_json_has_it_too(run, tmp_path):
  path, page = table(tmp_path / "runs.csv", isoflop_runs()), tmp_path / "page.html"
  code, out, err = run(
    f"--runs={path}", f"--html={page}", "--bootstraps=20", f"--json={tmp_path / 'law.json'}"
  )
  assert code == 0 and "fitting 24 runs" in err and "auditing the runs" in err
  report = json.loads((tmp_path / "law.json").read_text())
  assert f"grade {report['audit']['grade']}" in err
  assert f"Audit grade {report['audit']['grade']}" in page.read_text()
  code, out, err = run(f"--runs={path}", f"--html={page}", "--bootstraps=20", "--json=-")
  assert json.loads(out)["audit"] == report["audit"] and "audit" not in err and "descents" not in err
  code, _, err = run(f"--runs={path}", "--html=-")
  assert code == launch.USER_MISTAKE and "no file" in err


def test_help_answers_in_a_second():
  began = time.monotonic()
  usage = subprocess.run(
    [sys.executable, "-X", "importtime", ROOT / "experiments" / EXPERIMENT, "--help"],
    capture_output=True,
    text=True,
    check=False,
  )
  assert "--exclude_top_losses" in usage.stdout and "--runs=runs.csv" in usage.stdout
  modules = {line.rsplit("|", 1)[-1].strip() for line in usage.stderr.splitlines() if "|" in line}
  assert not modules & {"jax", "numpy", "scipy"}
  assert time.monotonic() - began < 20  # the machine may be busy; the modules above are what costs
