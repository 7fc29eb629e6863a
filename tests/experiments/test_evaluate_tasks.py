"""The command says what is missing before it loads anything, the harness among others."""

import sys

import pytest

EXPERIMENT = "evaluate_tasks.py"


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    ([], "--checkpoint=FOLDER is missing"),
    (["--checkpoint=runs/x"], "--tasks=NAME,... is missing"),
    (["--checkpoint=runs/x", "--tasks=t", "--log_samples"], "name the file with --json=FILE"),
    (["--checkpoint=runs/x", "--tasks=t", "--json=/no/such/report.json"], "which does not exist"),
    (["--checkpoint=runs/x", "--tasks=t", "--limit=0"], "limit"),
    (
      ["--checkpoint=runs/x", "--tasks=t"],
      "evaluating on tasks needs lm-evaluation-harness: uv run --extra harness",
    ),
  ],
)
def test_what_is_missing_is_one_sentence(run, monkeypatch, words, sentence):
  from gen.evaluation import harness

  monkeypatch.setitem(sys.modules, "lm_eval", None)
  harness.language_model.cache_clear()
  code, out, err = run(*words)
  assert code == 2 and sentence in err and err.count("\n") <= 2 and not out
