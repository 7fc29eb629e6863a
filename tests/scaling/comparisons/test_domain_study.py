"""A domain beside general text, at a size of a second: FLOPs, forgetting, resuming, mistakes."""

import dataclasses
import io
import json
import random
from pathlib import Path

import pytest
from rich.console import Console

from gen.config import Data, Model, Optimizer, Sweep
from gen.config.comparisons import DomainStudy, check_domain_study
from gen.errors import UserError
from gen.io import typed_json
from gen.scaling.comparisons import domain_figure, domain_report, domain_study
from gen.scaling.comparisons.domain_records import DomainResults
from tests.scaling.comparisons.in_process import InProcess

pytestmark = pytest.mark.slow  # trains real studies

WORDS = {
  "law": "licensee shall warrant hereunder the software and any liability whereof is herein limited by it",
  "prose": "rivers ran under old stone bridges while children sang and winter birds crossed a grey sky",
}
REPLAYS = (0.0, 0.3)


def write_text(path, kind, documents=60):
  chosen = random.Random(kind)
  with path.open("w") as file:
    for _ in range(documents):
      lines = (" ".join(chosen.choices(WORDS[kind].split(), k=11)) for _ in range(4))
      file.write(json.dumps({"text": "\n".join(lines)}) + "\n")
  return str(path)


def make_study(cache, **changes):
  sweep = Sweep(
    model=Model(family="decoder", depth=1, head_width=4),
    data=Data(tokenizer="bpe", vocab=300, length=16, batch=2, validation_fraction=0.3, validation_tokens=200,
              cache=str(cache)),
    optimizer=Optimizer(peak_learning_rate=3e-2),
    budgets=(3e7, 5e7),
    widths=((8,), (8,)),
    seeds=(2, 2),
    workers=1,
  )  # fmt: skip
  return DomainStudy(name="tiny", sweep=sweep, replays=REPLAYS, held_out_bytes=1500, **changes)


def train(study, texts, folder, screen):
  folder.mkdir(exist_ok=True)
  console = Console(file=screen, soft_wrap=True, width=200)
  opened = domain_study.open_texts(study, *texts, folder, console.print)
  trained = domain_study.train_arms(study, opened, folder, console, InProcess())
  return domain_study.collect_results(study, opened, trained, folder, console.print), trained


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
  folder = tmp_path_factory.mktemp("texts")
  return [write_text(folder / f"{kind}.jsonl", kind) for kind in ("law", "prose")]


@pytest.fixture(scope="module")
def done(tmp_path_factory, texts):
  folder = tmp_path_factory.mktemp("domain")
  screen = io.StringIO()
  study = make_study(folder / "cache")
  results, trained = train(study, texts, folder / "runs", screen)
  return study, folder / "runs", results, trained, screen.getvalue()


def arm(results, name, budget=5e7):
  (found,) = [each for each in results.arms if each.arm == name and each.budget == budget]
  return found


def test_both_phases_together_spend_the_budget_within_half_a_step(done):
  study, _, results, _, _ = done
  assert len(results.arms) == 2 * 5 and {len(each.runs) for each in results.arms} == {2}
  for each in results.arms:
    for run in each.runs:
      assert abs(run.flops - each.budget) <= run.step_flops / 2
      assert (run.first_flops > 0) == each.arm.startswith("adapted")
      if run.first_flops:
        assert abs(run.first_flops - study.domain_share * each.budget) <= run.step_flops / 2


def test_the_domain_is_learned_and_the_general_text_is_forgotten(done):
  results = done[2]
  adapted, general = arm(results, "adapted_0"), arm(results, "general")
  assert adapted.over_general_model.mean < -0.1 and adapted.domain.mean < general.domain.mean
  assert adapted.forgetting.mean > 0.1 and general.forgetting is None
  assert arm(results, "scratch").general.mean > general.general.mean + 0.1


def test_replay_keeps_general_text_and_reads_less_of_the_domain(done):
  results = done[2]
  plain, replayed = arm(results, "adapted_0"), arm(results, "adapted_30")
  assert replayed.forgetting.mean < plain.forgetting.mean
  for some, whole in zip(replayed.runs, plain.runs, strict=True):
    assert some.domain_epochs == pytest.approx(0.7 * whole.domain_epochs) and some.tokens == whole.tokens


def test_forgetting_is_the_change_of_the_same_seed_since_its_first_phase(done):
  adapted = arm(done[2], "adapted_0")
  changes = [run.general - run.general_before for run in adapted.runs]
  assert adapted.forgetting.mean == pytest.approx(sum(changes) / 2, abs=1e-12)


def test_a_tokenizer_of_its_own_costs_fewer_tokens_on_its_text(done):
  costs = {cost.tokenizer: cost for cost in done[2].vocabulary}
  assert costs["domain"].domain > 1.2 * costs["general"].domain
  assert costs["general"].general > 1.2 * costs["domain"].general


def test_epochs_of_the_domain_count_the_tokens_of_the_domain_alone(done):
  results, trained = done[2:4]
  row = trained.studies["scratch"].results[-1]
  assert arm(results, "scratch").runs[-1].domain_epochs == pytest.approx(row["epochs"], rel=0.02)
  assert arm(results, "general").runs[0].domain_epochs == 0


def test_each_budget_has_a_verdict_and_the_tables_have_all_arms(done):
  results = done[2]
  assert [verdict.budget for verdict in results.verdicts] == [3e7, 5e7]
  assert all(verdict.winner in ("scratch", "adapted", "undecided") for verdict in results.verdicts)
  screen = io.StringIO()
  domain_report.print_results(Console(file=screen, soft_wrap=True), results)
  said = screen.getvalue()
  for words in ("general text only", "with 0 % replay", "own tokenizer", results.summary):
    assert words in said
  assert "Bytes a token" in said


def test_a_second_sitting_trains_and_scores_nothing_and_finds_the_same(done, texts):
  study, folder, results, _, _ = done
  screen = io.StringIO()
  again, _ = train(study, texts, folder, screen)
  said = screen.getvalue()
  assert "all 16 runs are done" in said and "all 8 runs are done" in said and "scoring" not in said
  assert again.arms == results.arms and again.verdicts == results.verdicts


def test_results_survive_json_and_become_a_figure(done, tmp_path):
  results = done[2]
  values = json.loads(json.dumps(typed_json.encode_record(results)))
  assert typed_json.decode_record(DomainResults, values, "results").arms == results.arms
  assert [path.suffix for path in domain_figure.write_figure(results, tmp_path)] == [".png", ".pdf"]


def test_bytes_have_no_vocabulary_of_their_own(tmp_path, texts, done):
  study = make_study(done[1].parent / "cache")
  study.sweep.data = dataclasses.replace(study.sweep.data, tokenizer="bytes")
  opened = domain_study.open_texts(study, *texts, tmp_path, lambda _: None)
  assert opened.own is None and opened.texts.tokenizer == "bytes"


def test_the_same_text_twice_is_refused(tmp_path, texts, done):
  study = make_study(done[1].parent / "cache")
  copy = tmp_path / "law.jsonl"
  copy.write_bytes(Path(texts[0]).read_bytes())
  with pytest.raises(UserError, match="are the same text; name two different ones"):
    domain_study.open_texts(study, texts[0], str(copy), tmp_path, lambda _: None)


def test_texts_that_share_documents_are_refused(tmp_path, texts, done):
  study = make_study(done[1].parent / "cache")
  mixed = tmp_path / "mixed.jsonl"
  mixed.write_bytes(b"".join(Path(text).read_bytes() for text in texts))
  with pytest.raises(
    UserError, match=r"% of the held-out text of --domain=.* stands in the training text of"
  ):
    domain_study.open_texts(study, texts[0], str(mixed), tmp_path, lambda _: None)


def test_an_empty_text_is_refused(tmp_path, texts, done):
  empty = tmp_path / "empty.jsonl"
  empty.write_text("")
  with pytest.raises(UserError, match="empty"):
    domain_study.open_texts(make_study(tmp_path / "cache"), str(empty), texts[1], tmp_path, lambda _: None)


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    ({"replays": ()}, "holds 0 shares"),
    ({"replays": (1.0,)}, r"must be in \[0, 1\)"),
    ({"replays": (0.1, 0.1001)}, "with one share twice"),
    ({"domain_share": 1.0}, "config.domain_share is 1.0"),
    ({"confidence": 0.0}, "config.confidence"),
    ({"held_out_bytes": 5}, "config.held_out_bytes"),
    ({"sweep.widths": ((8, 16), (8,))}, "give one width for each budget"),
    ({"sweep.seeds": (1, 2)}, "give each budget as many"),
    ({"sweep.budgets": (5e7, 3e7)}, "ascending"),
    ({"sweep.budget_unit": "steps"}, "equal flops"),
    ({"sweep.start_from": "runs/x"}, "config.sweep.start_from is set"),
  ],
)
def test_a_study_that_cannot_be_is_one_sentence(change, sentence, tmp_path):
  study = make_study(tmp_path)
  for path, value in change.items():
    owner = study.sweep if path.startswith("sweep.") else study
    setattr(owner, path.removeprefix("sweep."), value)
  with pytest.raises(UserError, match=sentence):
    check_domain_study(study)
