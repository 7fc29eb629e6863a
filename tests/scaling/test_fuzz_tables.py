"""Any table of runs is fitted, audited and explained with finite numbers, or is one sentence."""

import json
import math

import numpy as np
import pytest

from gen.errors import UserError
from gen.io import strict_json, typed_json
from gen.scaling.audits import audit
from gen.scaling.laws import fit, fit_summary
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.planning import law_source, plan, plan_summary
from gen.scaling.runs import runs_table

HEADERS = ("params", "tokens", "loss", "flops", "budget", "seed", "held_out", "steps", "name")
OTHER_HEADERS = ("N", "D", "C", "val_loss", "n_params", "", "loss", "params", "größe", "x" * 5000, '"')
CELLS = (
  "nan",
  "inf",
  "-inf",
  "1e400",
  "-1",
  "0",
  "",
  "x",
  "9" * 400,
  "1e-320",
  "1e308",
  "1,5",
  '"',
  "7B",
  "٣",
  "-0.0",
)
BOOTSTRAPS = 20
SHAPES = ((1, 1), (2, 3), (4, 4), (4, 4), (4, 4), (4, 4))  # few, because each is compiled


def study(rng):
  """Returns the columns of a random law's runs, with noise, in budgets or scattered."""
  random = np.random.default_rng(rng.randrange(2**32))
  law = ParametricLaw(
    random.uniform(0.5, 2.5), *np.exp(random.uniform(4, 8, 2)), *random.uniform(0.25, 0.6, 2)
  )
  groups, sizes = rng.choice(SHAPES)
  flops = np.repeat(np.geomspace(1e15, 1e15 * 10 ** random.uniform(0, 4), groups), sizes)
  params = np.array([law.optimum(c)[0] for c in flops]) * np.exp(random.uniform(-1.5, 1.5, len(flops)))
  tokens = flops / 6 / params
  loss = law.loss(params, tokens) * np.exp(random.normal(0, 10 ** random.uniform(-5, -1), len(flops)))
  columns = {"params": params, "tokens": tokens, "loss": loss, "flops": flops}
  if rng.random() < 0.3:
    columns |= {"seed": np.arange(len(flops)) % 2, "held_out": np.arange(len(flops)) % 5 == 4}
  return {name: [repr(float(value)) for value in column] for name, column in columns.items()}


def table(rng):
  """Returns a table of runs as text, with up to four things wrong with it."""
  columns = study(rng)
  for _ in range(rng.randrange(5)):
    name = rng.choice(list(columns))
    kind = rng.randrange(7)
    if kind == 0:
      columns[name][rng.randrange(len(columns[name]))] = rng.choice(CELLS)
    elif kind == 1:
      columns[name] = [rng.choice(CELLS)] * len(columns[name])
    elif kind == 2 and len(columns) > 1:
      del columns[name]
    elif kind == 3:
      columns[rng.choice(OTHER_HEADERS)] = columns[name]
    elif kind == 4:
      columns[rng.choice(HEADERS)] = list(columns[name])
    elif kind == 5:
      factor = 10 ** rng.uniform(-300, 300)
      columns[name] = [str(float(cell) * factor) if cell[:1].isdigit() else cell for cell in columns[name]]
    else:
      place = rng.randrange(len(columns[name]))
      columns[name][place] = (
        str(math.exp(rng.uniform(-5, 5))) if name == "loss" else rng.choice(columns[name])
      )
  separator = rng.choice(",,,;\t")
  lines = [separator.join(columns), *(separator.join(row) for row in zip(*columns.values(), strict=True))]
  if rng.random() < 0.1:
    lines[rng.randrange(len(lines))] = rng.choice(("", "{", "\0", ",", '"', "x" * 10_000))
  return "\n".join(lines)


def said(call):
  """Returns what a call returns; None for one sentence."""
  try:
    return call()
  except UserError as error:
    assert "\n" not in str(error) and 0 < len(str(error)) < 2000
    return None


def fitted(path):
  """Fits, prints and writes as `experiments/fit_scaling_law.py` does."""
  runs, _ = runs_table.read_described(path)
  report = fit_summary.summarize_fits(fit.fit_all(runs, curves=[], bootstraps=BOOTSTRAPS), runs)
  for name in ("E", "alpha", "beta", "a", "b"):
    assert math.isfinite(report.get(name, 0.0)), name
  written(report)
  return fit_summary.summary_lines(report)


def audited(path):
  found = audit.audit_runs(runs_table.read_runs(path), bootstraps=BOOTSTRAPS)
  written(found.as_dict())
  return audit.audit_lines(found)


def planned(path):
  report = plan.make_plan(law_source.read_source(path, bootstraps=BOOTSTRAPS), 1e17)
  assert math.isfinite(report.N) and math.isfinite(report.loss)
  written(typed_json.encode_record(report))
  return plan_summary.plan_lines(report)


def written(report):
  json.loads(strict_json.encode_json(report), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_any_table_gives_finite_laws_grades_and_plans_or_one_sentence(fuzz, tmp_path):
  path = tmp_path / "runs.csv"
  for rng in fuzz.rounds():
    path.write_text(table(rng))
    if said(lambda: runs_table.read_runs(path)) is None:
      continue
    work = rng.choice((fitted, audited, planned))
    lines = said(lambda work=work: work(path))
    assert lines is None or all("\n" not in line for line in lines)
