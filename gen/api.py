"""The public API: `import gen`, then `gen.fit`, `gen.plan`, `gen.audit`, `gen.count`, `gen.train`, `gen.load`, ...

    import gen

    law = gen.fit("runs.csv")                                   # approach 3, with intervals
    law.predict(1e21).N
    gen.plan(law, flops=1e21).tokens_per_parameter
    run = gen.Run(model=gen.Model(width=64, depth=2), data=gen.Data(corpus="notes/*.txt"), steps=200)
    result = gen.train(run, "runs/notes")
    gen.generate(gen.load("runs/notes"), "The", max_tokens=20)

`import gen` itself imports nothing else; each name is imported when it is first used. N parameters, D tokens, C
training FLOPs, loss in nats per token. Every mistake of the caller is a `gen.UserError` with one sentence.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, cast, overload

from numpy.typing import ArrayLike

from gen import counts
from gen.config import Model, Run
from gen.errors import UserError
from gen.io.argument_words import name_arguments, names_arguments
from gen.scaling.laws.fit_options import FitKeywords
from gen.scaling.planning.plan_records import Plan
from gen.scaling.runs.runs_table import RunsTable

if TYPE_CHECKING:  # Imported where they are used, since they import jax.
  from gen.generation.loaded_model import LoadedModel
  from gen.scaling.audits.audit import AuditReport
  from gen.scaling.laws.envelope import EnvelopeFit
  from gen.scaling.laws.isoflop import IsoflopFit
  from gen.scaling.laws.loss_law.law import ParametricLaw
  from gen.scaling.laws.parametric import ParametricFit
  from gen.scaling.laws.power_law_fit import PowerLawFit
  from gen.training.hooks import RunHooks
  from gen.training.run_log.rows import RunResult

Prompts = TypeVar("Prompts", str, list[str])
Runs = str | Path | RunsTable | Mapping[str, ArrayLike]
"""A file of runs (.csv, .tsv, .jsonl, a sweep's journal.jsonl or results.json, packed or not), or columns by name: a
dict of arrays or a DataFrame."""


@dataclasses.dataclass(frozen=True)
class ModelCounts:
  """What a model's shape costs.

  Attributes:
    params: all parameters.
    matrices: parameters of matrices with the output head, without the embedding: N of the laws.
    by_group: parameters by group; they add up to `params`.
    flops_per_token: exact training FLOPs per target token.
    flops_6n: 6 N, the usual estimate of it.
  """

  params: int
  matrices: int
  by_group: dict[str, int]
  flops_per_token: float
  flops_6n: float


@names_arguments
def read_runs(runs: Runs, columns: Mapping[str, str] | None = None) -> RunsTable:
  """Returns a table of runs.

  Args:
    runs: see `Runs`. Columns may have the names that people give them: model_size, train_tokens, eval/loss, compute.
    columns: names of columns by gen's names (params, tokens, loss, flops), where they are not recognized.

  Raises:
    UserError: for a column that is missing or values that are no positive numbers; it says what each column looks like.
  """
  from gen.scaling.runs import runs_table

  if isinstance(runs, RunsTable):
    return runs
  if isinstance(runs, (str, Path)):
    return runs_table.read_runs(runs, columns)
  return runs_table.runs_from_columns(runs, columns)


Columns = Mapping[str, str] | None


@overload
def fit(
  runs: Runs, approach: Literal["parametric"] = ..., *, columns: Columns = ..., **options: Unpack[FitKeywords]
) -> "ParametricFit": ...


@overload
def fit(
  runs: Runs, approach: Literal["isoflop"], *, columns: Columns = ..., **options: Unpack[FitKeywords]
) -> "IsoflopFit": ...


@overload
def fit(
  runs: Runs, approach: Literal["envelope"], *, columns: Columns = ..., **options: Unpack[FitKeywords]
) -> "EnvelopeFit": ...


@names_arguments
def fit(
  runs: Runs,
  approach: Literal["parametric", "isoflop", "envelope"] = "parametric",
  *,
  columns: Columns = None,
  **options: Unpack[FitKeywords],
) -> "PowerLawFit":
  """Fits a scaling law by one of the approaches of Hoffmann et al. 2022 (arXiv:2203.15556).

  Args:
    runs: see `Runs`; runs that are held out are left out.
    approach: parametric (approach 3), isoflop (2), or envelope (1), which wants training curves: a sweep's journal.
    columns: as in `read_runs`.
    **options: of the fit, by default those of the paper: delta (parametric: residual in log loss where the Huber loss
      becomes linear), tied (parametric: alpha = beta), method (isoflop: parabola or akima), edge (isoflop: drop or keep
      budgets whose minimum is at the edge), bootstraps (0: no intervals), seed, level, interval (auto, percentile or
      bca), cluster (what is resampled: run, budget or seed).

  Returns:
    A fit with exponents `a` and `b`, `intervals`, `warnings`, and `predict(flops)`.

  Raises:
    UserError: for runs that cannot identify the law.

  >>> import gen
  >>> sizes, data = [1e7, 2e7, 4e7, 8e7] * 3, [1e8] * 4 + [1e9] * 4 + [1e10] * 4
  >>> losses = [1.7 + 400 / n**0.34 + 410 / d**0.28 for n, d in zip(sizes, data)]
  >>> round(gen.fit({"params": sizes, "tokens": data, "loss": losses}, bootstraps=0).law.alpha, 3)
  0.34
  """
  from gen.scaling.laws import fit as laws
  from gen.scaling.runs import runs_table

  table = read_runs(runs, columns)
  curves = None
  if approach == "envelope":
    if not isinstance(runs, (str, Path)):
      raise UserError("approach envelope wants training curves; give the journal.jsonl of a sweep")
    curves = runs_table.read_curves(runs, table.select(~table.held_out))
  return laws.fit_approach(table, approach, curves=curves, **options)


@names_arguments
def plan(
  law: "str | Path | ParametricLaw | PowerLawFit" = "besiroglu2024",
  *,
  flops: float | None = None,
  budget: str | None = None,
  params: float | None = None,
  tokens: float | None = None,
  model: str | None = None,
  inference_tokens: float | None = None,
  unique_tokens: float | None = None,
  overtrain: Sequence[float] = (),
  params_unit: float | None = None,
  tokens_unit: float | None = None,
) -> Plan:
  """Plans a model: how many parameters on how many tokens.

  Args:
    law: a published law by name, a fit or its constants, or a file of runs, results or constants.
    flops: C, the training budget.
    budget: C in words: "8 h100 for 3 days at 40 %", "3640 PF-days".
    params: N of a model, to ask for its tokens.
    tokens: D that there are, to ask for the size; with `params`, how far from the optimum they are.
    model: a published model or preset by name, such as gpt-3, for its params and tokens.
    inference_tokens: tokens that the model will process in its life.
    unique_tokens: tokens that there are, if they must be repeated.
    overtrain: factors by which smaller models are priced.
    params_unit: of N in the law's file of runs, such as 1e6 for millions.
    tokens_unit: of D in it, such as 1e9 for billions.

  Raises:
    UserError: for values that make no plan, and for a law that does not answer the question.

  >>> import gen
  >>> round(gen.plan("hoffmann2022", flops=5.76e23).tokens_per_parameter)
  59
  """
  from gen.scaling.planning import budgets, law_source
  from gen.scaling.planning import plan as plans

  if isinstance(law, (str, Path)):
    known: Any = law_source.open_law(law, params_unit=params_unit, tokens_unit=tokens_unit)
  elif params_unit is not None or tokens_unit is not None:
    raise UserError(
      "params_unit and tokens_unit are of a law's file; scale the columns before the fit instead"
    )
  else:
    known = law
  if budget is not None:
    if flops is not None:
      raise UserError("flops and budget are both given; leave one out")
    flops = budgets.parse_budget(budget)
  answer = plans.make_plan(
    known,
    flops,
    params=params,
    tokens=tokens,
    model=model,
    inference_tokens=inference_tokens,
    unique_tokens=unique_tokens,
    overtrain=overtrain,
  )
  return dataclasses.replace(answer, warnings=tuple(map(name_arguments, answer.warnings)))


@names_arguments
def audit(
  runs: Runs, *, columns: Mapping[str, str] | None = None, bootstraps: int = 300, seed: int = 0
) -> "AuditReport":
  """Checks whether a table of runs can carry a scaling law, and grades it from A to D.

  Args:
    runs: see `Runs`.
    columns: as in `read_runs`.
    bootstraps: resamples from which standard errors are estimated; at least 20.
    seed: of the resampling.

  Raises:
    UserError: for runs that cannot identify a law, with the reason.
  """
  from gen.scaling.audits import audit as audits

  return audits.audit_runs(read_runs(runs, columns), bootstraps=bootstraps, seed=seed)


@names_arguments
def count(model: Model | str, length: int = 0, source_length: int = 0) -> ModelCounts:
  """Counts a model's parameters and FLOPs from its shape alone.

  Args:
    model: a config, or a preset by name.
    length: target positions of a row; 0 is the preset's own, else the config's context, else 1,024.
    source_length: source positions of an encoder-decoder's row; 0 is `length`.

  Raises:
    UserError: for an unknown preset, with the nearest.

  >>> import gen
  >>> gen.count("gpt2").params
  124439808
  """
  from gen import presets

  if isinstance(model, str):
    length = length or presets.get_length(model)
    model = presets.get_model(model)
  length = length or model.context or 1024
  source = (source_length or length) if model.family == "encoder_decoder" else 0
  groups = counts.count_parameters(model)
  return ModelCounts(
    groups.total,
    counts.count_matrices(model),
    groups._asdict(),
    counts.flops_per_token(model, length, source),
    counts.six_n_flops(model),
  )


@names_arguments
def train(
  run: Run,
  workdir: str | Path,
  *,
  hooks: "RunHooks | None" = None,
  report: Callable[[str], None] | None = None,
) -> "RunResult":
  """Trains a run to its end and returns its result; the same call resumes a run that was stopped.

  Args:
    run: what to train, on which data, for how long.
    workdir: its folder, with checkpoints and journal; a finished run is not trained again.
    hooks: called with each row of the journal, and asked whether to stop.
    report: called with one line for each stage of the data's preparation; None is silent.

  Raises:
    UserError: for a config that cannot be, and for another run in the folder.
    gen.training.hooks.RunStopped: when a hook said so, after saving.
  """
  from gen.data import dataset
  from gen.training import compute_dtype, trunks

  run = dataclasses.replace(run)
  compute_dtype.set_dtype(run, Path(workdir), report or (lambda _: None))
  return trunks.train_branch(run, workdir, dataset.load_dataset(run.data, report), hooks)


@names_arguments
def load(folder: str | Path, step: int | None = None) -> "LoadedModel":
  """Loads a trained model with its tokenizer.

  Args:
    folder: of a run of `gen`, or of a checkpoint in the Hugging Face format.
    step: of a run's checkpoint; None is the latest.

  Raises:
    UserError: if there is no such model, checkpoint or tokenizer.
  """
  from gen.generation import loaded_model

  return loaded_model.load_model(folder, step)


@names_arguments
def generate(
  model: "LoadedModel",
  prompts: Prompts,
  *,
  max_tokens: int = 64,
  temperature: float = 0.0,
  top_k: int = 0,
  top_p: float = 1.0,
  seed: int = 0,
) -> Prompts:
  """Continues, answers or fills prompts, by the model's family.

  Args:
    model: from `load`.
    prompts: one text, or a list of texts that are generated together.
    max_tokens: most new tokens of each.
    temperature: 0 is greedy.
    top_k: tokens to draw from; 0 is all.
    top_p: probability mass to draw from; 1 is all.
    seed: of the draws.

  Returns:
    The new text of one prompt, or a list for several.

  Raises:
    UserError: for a setting outside its range, or a prompt that the model cannot read.
  """
  import jax

  from gen.generation import text
  from gen.generation.decoding.sampling import Sampler

  several = [prompts] if isinstance(prompts, str) else list(prompts)
  sampler = Sampler(temperature=temperature, top_k=top_k, top_p=top_p)
  limits: dict[str, Any] = {} if model.model.family == "encoder" else {"max_tokens": max_tokens}
  *_, answers = text.stream_answers(model, several, sampler, jax.random.key(seed), **limits)
  texts = [answer.text for answer in answers]
  return cast(Prompts, texts[0] if isinstance(prompts, str) else texts)
