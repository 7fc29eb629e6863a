"""The command, through its own entry: a budget in, a plan and an exit code out."""

import gzip
import json

import numpy as np
import pytest

from gen.cli import launch
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.planning import published_models

EXPERIMENT = "plan.py"
pytestmark = pytest.mark.optimized  # the solver runs for longer than it compiles
LAW = ParametricLaw(E=1.1, A=150.0, B=400.0, alpha=0.35, beta=0.37)


def report_of(answer):
  code, out, err = answer
  assert code == 0, err
  return json.loads(out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """A table of 24 runs round the optima of four budgets."""
  random, lines = np.random.default_rng(4), ["params,tokens,loss,flops"]
  for flops in (2e15, 8e15, 3e16, 1e17):
    for n in LAW.optimum(flops)[0] * np.geomspace(0.3, 3, 6):
      lines.append(
        f"{n},{flops / 6 / n},{LAW.loss(n, flops / 6 / n) * np.exp(random.normal(0, 0.003))},{flops}"
      )
  path = tmp_path_factory.mktemp("runs") / "runs.csv"
  path.write_text("\n".join(lines))
  return path


def test_gophers_budget_gives_forty_billion_parameters(run):
  report = report_of(run("--flops=5.76e23", "--law=hoffmann2022", "--json=-"))
  assert report["N"] == pytest.approx(40e9, rel=0.02) and report["law"]["name"] == "hoffmann2022"
  assert report["budget"]["pf_days"] == pytest.approx(5.76e23 / 8.64e19)
  assert len(report["table"]) == 10 and report["shape"]["params_total"] == pytest.approx(report["N"], rel=0.1)


def test_the_default_law_is_the_refit_and_twenty_tokens_a_parameter(run):
  report = report_of(run("--budget=5.76e23", "--json=-"))
  assert report["law"]["name"] == "besiroglu2024" and 15 < report["tokens_per_parameter"] < 25


@pytest.mark.parametrize(("spelling", "name"), [("GPT_3", "gpt-3-175b"), ("qwen2.5 7B", "qwen2.5-7b")])
def test_a_model_is_named_in_any_case_with_or_without_hyphens(run, spelling, name):
  found = report_of(run(f"--model={spelling}", "--json=-"))["question"]["model"]
  known = published_models.MODELS[name]
  assert (found["name"], found["params"], found["tokens"]) == (name, known.params, known.tokens)


@pytest.mark.parametrize(
  ("words", "params", "tokens"),
  [
    (["--params=70B"], 70e9, None),
    (["--params=70", "--params_unit=1e9"], 70e9, None),
    (["--tokens=300B"], None, 300e9),
    (["--tokens=300", "--tokens_unit=1e9"], None, 300e9),
    (["--params=7e9", "--tokens=1T"], 7e9, 1e12),
    (["--model=gpt-3"], 174.6e9, 300e9),
    (["--model=pythia-12b", "--tokens=20_000_000_000"], 11_846_072_320, 20e9),
    (["--params=7B", "--budget=8 h100 for 9 days"], 7e9, 8 * 9 * 86_400 * 989e12 * 0.4 / 6 / 7e9),
  ],
)
def test_a_size_data_or_a_model_is_a_question(run, words, params, tokens):
  report = report_of(run(*words, "--count=8", "--json=-"))
  asked = report["question"]
  assert asked["params"] == params and asked["tokens"] == (tokens and pytest.approx(tokens))
  assert report["budget"]["count"] == 8 and report["rule_of_thumb"]["tokens_per_parameter"] == 20
  assert {row["law"] for row in report["by_law"]} >= {"besiroglu2024", "hoffmann2022", "kaplan2020"}
  assert ("distance" in report) == (params is not None and tokens is not None)
  code, text, _ = run(*words)
  assert code == 0 and "20 tokens a parameter" in text


def test_a_law_that_contradicts_the_rule_says_so_beside_a_file_too(run, tmp_path):
  code, out, _ = run("--flops=5.76e23", "--law=hoffmann2022", f"--json={tmp_path / 'plan.json'}")
  assert code == 0 and "besiroglu2024 is the refit" in out


def test_the_models_are_listed_with_their_sources(run):
  for word in ("list", "help"):
    code, out, _ = run(f"--model={word}")
    assert code == 0 and "chinchilla-70b" in out and "arXiv:2304.01373" in out and "gpt2-xl" in out
  listed = report_of(run("--model=list", "--json=-"))
  assert listed["models"]["chinchilla-70b"]["D"] == pytest.approx(1.4e12) and "gpt2-xl" in listed["presets"]
  assert report_of(run("--law=list", "--json=-"))["besiroglu2024"]["source"]


@pytest.mark.parametrize(
  ("words", "flops"),
  [
    (["--pf_days=2"], 2 * 8.64e19),
    (["--budget=2 PF-days"], 2 * 8.64e19),
    (["--gpu=h100", "--count=64", "--hours=72", "--utilization=0.4"], 64 * 72 * 3600 * 989e12 * 0.4),
    (["--gpu=3e14", "--hours=10", "--utilization=0.5"], 10 * 3600 * 1.5e14),
  ],
)
def test_a_budget_in_every_unit(run, words, flops):
  report = report_of(run(*words, "--price_per_hour=2.5", "--json=-"))
  assert report["flops"] == pytest.approx(flops, rel=1e-9)
  count, hours = report["budget"]["count"], report["hours"]
  assert report["cost"] == pytest.approx(2.5 * count * hours)


def test_words_and_flags_say_one_budget(run):
  reports = [
    report_of(run(*words, "--json=-"))
    for words in (
      ["--gpu=h100", "--count=64", "--hours=2"],
      ["--budget=64 x 2 h of h100"],
      ["--budget=2 h", "--count=64"],
      ["--budget=128 GPU hours on h100", "--count=64"],
      ["--budget=$256 on 64 H100", "--price_per_hour=2"],
    )
  ]
  for report in reports:
    assert report["flops"] == pytest.approx(reports[0]["flops"], rel=1e-12)
    assert report["hours"] == pytest.approx(2) and report["budget"]["count"] == 64


def test_minutes_of_this_machine(run):
  report = report_of(run("--machine_minutes=10", "--json=-"))
  assert report["budget"]["machine_minutes"] == pytest.approx(10)


def test_runs_give_a_plan_with_intervals_and_the_next_runs(run, runs, tmp_path):
  target = tmp_path / "plan.json"
  words = [
    "--flops=1e19",
    f"--law={runs}",
    "--bootstraps=100",
    "--inference_tokens=1e11",
    "--unique_tokens=1e9",
  ]
  code, out, err = run(*words, "--overtrain=2,4", "--next=3", "--price_per_hour=2", f"--json={target}")
  assert code == 0 and "tokens" in out, err
  report = json.loads(target.read_text())
  for name in ("N", "D", "tokens_per_parameter", "loss", "hours", "cost"):
    low, high = report["interval"][name]
    assert low <= report[name] <= high
  low, high = report["interval"]["N"]
  assert low < LAW.optimum(1e19)[0] < high
  assert [one["factor"] for one in report["overtrain"]] == [2, 4]
  assert report["inference"]["N"] < report["N"] and report["repetition"]["epochs"] > 1
  assert (
    len(report["next"]["runs"]) == 3 and report["next"]["now"][0] < report["N"] < report["next"]["now"][1]
  )
  _, text, _ = run(*words, "--overtrain=2,4", "--next=3")
  for said in ("95 % interval", "inference", "repetition", "overtrain", "next runs", "24 runs"):
    assert said in text


def test_a_packed_table_of_any_name_is_a_law_and_its_columns_are_said(run, runs, tmp_path):
  path = tmp_path / "mine.tsv.gz"
  text = runs.read_text().replace("params,tokens,loss,flops", "n_params,train_tokens,eval/loss,compute")
  path.write_bytes(gzip.compress(text.replace(",", "\t").encode()))
  code, out, err = run("--flops=1e18", f"--law={path}", "--bootstraps=0")
  assert code == 0 and "24 runs" in out and f"{path}: 'eval/loss' is taken for the loss" in err
  assert "no device is given" in out
  report = report_of(run("--flops=1e18", f"--law={path}", "--bootstraps=0", "--json=-"))
  assert "'train_tokens' is taken for D" in report["law"]["columns"]
  for words in (["--law=absent.tsv"], ["--law=absent"], [f"--law={tmp_path}"]):
    code, out, err = run("--flops=1e18", *words)
    assert code == launch.USER_MISTAKE and err.count("\n") == 1, err


def test_the_laws_are_listed_with_their_sources(run):
  code, out, _ = run("--law=list")
  assert code == 0 and "arXiv:2203.15556" in out and "kaplan2020" in out


@pytest.mark.parametrize(
  ("words", "said"),
  [
    ([], "none is given"),
    (["--flops=1e21", "--pf_days=3"], "--flops, --pf_days"),
    (["--flops=0"], "above zero"),
    (["--flops=1e400"], "1e400"),
    (["--flops=3640"], "not a budget of a training run"),
    (["--params=70"], "--params=70B"),
    (["--params="], "params"),
    (["--params=nan"], "params"),
    (["--tokens=-1"], "at least 0"),
    (["--tokens=300"], "--tokens=300B"),
    (["--params=1e30"], "more than any model or corpus has"),
    (["--params=70B", "--params_unit=1e9"], "is --params_unit=1e+09 meant"),
    (["--flops=1e21", "--inference_tokens=2"], "--inference_tokens=2T"),
    (["--model=gtp-3"], "nearest is 'gpt-3'"),
    (["--model="], "no model"),
    (["--params=7B", "--tokens=1T", "--flops=1e21"], "leave one out"),
    (["--flops=1e21", "--vocab=0"], "vocab"),
    (["--budget=64 x 2 h of h100", "--count=8"], "count is given twice"),
    (["--budget=8 h100 for 3 days with a dog"], "'dog' is not understood"),
    (["--flops=nan"], "finite"),
    (["--flops=many"], "flops"),
    (["--budget=lots"], "is not a budget"),
    (["--flops=1e21", "--law=nowhere.csv"], "no such file"),
    (["--flops=1e21", "--law=nobody2022"], "there is no law"),
    (["--flops=1e21", "--gpu=abacus"], "abacus"),
    (["--hours=3", "--utilization=40"], "40 is too large; the value must be at most 1"),
    (["--hours=3", "--count=-2"], "-2 is too small"),
    (["--flops=1e21", "--overtrain=two"], "--overtrain=two"),
    (["--flops=1e21", "--overtrain=-2"], "--overtrain=-2"),
    (["--flops=1e21", "--inference_tokens=-1"], "inference_tokens"),
    (["--flops=1e21", "--family=gpt9"], "gpt9"),
    (["--flops=1e21", "--next=2"], "has no runs"),
    (["--flops=1e21", "--next=-2"], "next"),
    (["--flops=1e21", "--params_convention=some"], "some"),
    (["--flops=1e21", "--json=absent/plan.json"], "absent"),
    (["--flops=1e21", "stray"], "stray"),
    (["--flop=1e21"], "flop"),
  ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(run, words, said):
  code, out, err = run(*words)
  assert code == launch.USER_MISTAKE and out == ""
  assert err.startswith("error: ") and err.count("\n") == 1 and said in err, err


def test_a_memory_budget_is_planned_by_the_published_law_of_precision(run):
  report = report_of(run("--memory=1MB", "--bits=4,8", "--tokens=20M", "--json=-"))
  assert sorted(choice["N"] for choice in report["choices"]) == [1e6, 2e6] and report["precision_runs"] == 43
  code, _, err = run("--memory=1MB", "--bits=4,8")
  assert code == 2 and "give either --tokens, or a budget" in err
  code, _, err = run("--memory=1MB", "--tokens=20M", "--params=1M")
  assert code == 2 and "--params is of another question than --memory" in err
  code, _, err = run("--bits=4", "--flops=1e18")
  assert code == 2 and "--bits is read with --memory=100MB alone" in err
