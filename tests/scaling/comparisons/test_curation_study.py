"""A study of a curation at a size of a second: texts, equal FLOPs, what each stage buys, repetition, mistakes."""

import io
import json
import random

import pytest
from rich.console import Console

from gen.config import Data, Model, Optimizer, Sweep
from gen.config.comparisons import CurationStudy, check_curation_study
from gen.config.curation import Curation
from gen.errors import UserError
from gen.io import typed_json
from gen.scaling.comparisons import curation_figure, curation_report, curation_study, curation_texts
from gen.scaling.comparisons.curation_records import CurationResults
from tests.scaling.comparisons.in_process import InProcess

GOOD = (
  "the of and to that have with be river mountain people light music story forest winter window bridge garden"
)

pytestmark = pytest.mark.slow  # trains real studies
JUNK = "$$$ ### ||| 0x00 >>> *** %%% &&& === +++"


def write_texts(path, words, documents, seed):
  chosen = random.Random(seed)
  with path.open("w") as file:
    for _ in range(documents):
      text = " ".join(chosen.choices(words.split(), k=60))
      file.write(json.dumps({"text": text}) + "\n")
  return path


def make_study(cache, **changes):
  sweep = Sweep(
    model=Model(family="decoder", depth=1, head_width=4),
    data=Data(length=16, batch=2, validation_fraction=0.2, validation_tokens=200, cache=str(cache)),
    optimizer=Optimizer(peak_learning_rate=3e-2),
    budgets=(2e7, 5e7),
    widths=((8,), (8,)),
    seeds=(2, 2),
    workers=1,
  )
  curation = Curation(stages=("unicode", "gopher_quality", "documents"))
  return CurationStudy(name="tiny", curation=curation, sweep=sweep, held_out_bytes=1500, **changes)


def run_study(study, source, judge, folder, screen):
  folder.mkdir(exist_ok=True)
  console = Console(file=screen, soft_wrap=True, width=200)
  texts = curation_texts.curate_stages(study, [str(source)], folder, console.print)
  opened = curation_study.open_texts(study, texts, str(judge), folder, console.print)
  corpora = {text.stage: str(text.folder.resolve()) for text in texts}
  trained = curation_study.train_texts(study, opened, corpora, folder, console, InProcess())
  return curation_study.collect_results(study, opened, trained, folder, console.print)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
  """Raw text of which four in five documents are junk, and clean text of another draw."""
  folder = tmp_path_factory.mktemp("texts")
  good, junk = (write_texts(folder / f"{name}.jsonl", words, count, name)
                for name, words, count in (("good", GOOD, 40), ("junk", JUNK, 160)))  # fmt: skip
  raw = folder / "raw.jsonl"
  lines = [*good.read_text().splitlines(), *junk.read_text().splitlines()]
  random.Random(1).shuffle(lines)
  raw.write_text("\n".join(lines) + "\n")
  return raw, write_texts(folder / "judge.jsonl", GOOD, 30, "judge")


@pytest.fixture(scope="module")
def done(tmp_path_factory, sources):
  folder = tmp_path_factory.mktemp("curation")
  screen = io.StringIO()
  study = make_study(folder / "cache", repetitions=(2.0, 6.0))
  return study, folder / "runs", run_study(study, *sources, folder / "runs", screen), screen.getvalue()


def test_a_stage_that_changes_no_text_has_no_runs(done):
  _, _, results, said = done
  assert [stage.stage for stage in results.stages] == ["raw", "gopher_quality"]
  assert "unicode: changes no text" in said and "documents: changes no text" in said
  assert results.stages[1].documents == 40 and results.stages[1].share < 0.4


def test_all_texts_get_the_same_flops_within_half_a_step(done):
  results = done[2]
  assert len(results.arms) == 4
  for arm in results.arms:
    assert abs(arm.flops - arm.budget) <= arm.step_flops / 2 and set(arm.bits) == {"0", "1"}


def test_dropping_junk_lowers_the_loss_and_is_worth_flops(done):
  results = done[2]
  final = [arm for arm in results.arms if arm.stage == "gopher_quality"]
  for arm in final:
    raw = next(each for each in results.arms if each.stage == "raw" and each.budget == arm.budget)
    assert arm.over_raw.mean == pytest.approx(sum(arm.bits[s] - raw.bits[s] for s in "01") / 2)
    assert arm.over_raw.mean < -0.05 and arm.over_previous == arm.over_raw
    assert arm.worth is None or arm.worth.value > 1


def test_parts_of_the_final_text_are_repeated_as_often_as_they_say(done):
  results = done[2]
  assert {(arm.budget, arm.epochs) for arm in results.repeated} <= {
    (c, e) for c in (2e7, 5e7) for e in (2.0, 6.0)
  }
  for arm in results.repeated:
    whole = next(
      each for each in results.arms if each.stage == "gopher_quality" and each.budget == arm.budget
    )
    assert (
      arm.unique == pytest.approx(whole.tokens / arm.epochs, abs=1)
      and arm.unique < results.stages[1].train_tokens
    )
  assert results.repetition.penalty is not None or results.repetition.error


def test_each_budget_has_a_sentence_and_the_tables_have_all_texts(done, tmp_path):
  results = done[2]
  screen = io.StringIO()
  curation_report.print_results(Console(file=screen, soft_wrap=True), results)
  assert (
    all(verdict.sentence in screen.getvalue() for verdict in results.verdicts) and len(results.verdicts) == 2
  )
  assert (
    "the curation lowers the loss" in screen.getvalue() or "than the scatter over seeds" in screen.getvalue()
  )
  values = json.loads(json.dumps(typed_json.encode_record(results)))
  assert typed_json.decode_record(CurationResults, values, "results").arms == results.arms
  assert [path.suffix for path in curation_figure.write_figure(results, tmp_path)] == [".png", ".pdf"]


def test_a_second_sitting_trains_and_scores_nothing(done, sources):
  study, folder, results, _ = done
  screen = io.StringIO()
  again = run_study(study, *sources, folder, screen)
  assert "scoring" not in screen.getvalue() and "runs done" not in screen.getvalue()
  assert again.arms == results.arms and again.repeated == results.repeated


def test_a_judge_that_stands_in_the_raw_text_is_refused(done, sources, tmp_path):
  study, folder = done[:2]
  texts = curation_texts.curate_stages(study, [str(sources[0])], folder, lambda _: None)
  with pytest.raises(UserError, match="judge by a text of another source"):
    curation_study.open_texts(study, texts, str(sources[0]), tmp_path, lambda _: None)


def test_a_curation_that_changes_nothing_is_refused(sources, tmp_path):
  study = make_study(tmp_path / "cache")
  study.curation.stages = ("documents",)
  with pytest.raises(UserError, match="no stage changes the text"):
    curation_texts.curate_stages(study, [str(sources[1])], tmp_path / "runs", lambda _: None)


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    ({"after": ("c4",)}, "config.after holds 'c4'; it must be one of unicode, gopher_quality, documents"),
    ({"repetitions": (1.0,)}, "above 1, at most 1,000"),
    ({"repetitions": (4.0, 2.0)}, "in ascending order"),
    ({"max_overlap": 2.0}, "config.max_overlap is 2.0"),
    ({"curation": Curation(stages=("magic",))}, "there is no stage 'magic'"),
  ],
)
def test_a_study_that_cannot_be_is_one_sentence(change, sentence, tmp_path):
  study = make_study(tmp_path)
  for name, value in change.items():
    setattr(study, name, value)
  with pytest.raises(UserError, match=sentence):
    check_curation_study(study)
