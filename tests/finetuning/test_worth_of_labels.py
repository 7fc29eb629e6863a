"""The study of labelled examples: its members, its curves and where they cross, and the command as a whole."""

import dataclasses

import pytest

from gen.data.tasks.examples import TaskData, TextExample
from gen.errors import UserError
from gen.evaluation.words import bag_of_words
from gen.finetuning import prompted, sweep_members
from gen.finetuning.settings import FinetuneSettings, usual_rate
from gen.finetuning.sweep_members import SweepMember
from gen.finetuning.worth_of_labels import label_curves, label_figure, label_members
from gen.finetuning.worth_of_labels.label_curves import LabelCurve, LabelPoint, StartPoint
from gen.generation import loaded_model
from gen.io import typed_json
from tests.experiments.test_finetune import write_data

SETTINGS = FinetuneSettings("classify", "a run", "a file", seed=5)


def curve(method, **scores):
  points = tuple(
    LabelPoint(int(count[1:]), value, value - 0.1, value + 0.1, (value,)) for count, value in scores.items()
  )
  return LabelCurve(method, points)


def test_each_method_has_a_member_for_each_number_of_examples_and_seed():
  members = label_members.make_members(SETTINGS, ("last:2", "prompt", "tfidf"), (8, 64), 2, ("other",))
  assert list(members) == [
    "prompt_0", "last_2_8_seed_5", "last_2_8_seed_6", "prompt_8_seed_5", "prompt_8_seed_6", "tfidf_8_seed_5",
    "tfidf_8_seed_6", "last_2_64_seed_5", "last_2_64_seed_6", "tfidf_64_seed_5", "tfidf_64_seed_6",
    "start_1_last_2_64_seed_5", "start_1_last_2_64_seed_6",
  ]  # fmt: skip
  tuned, other = members["last_2_8_seed_6"], members["start_1_last_2_64_seed_5"]
  assert (tuned.settings.limit, tuned.settings.seed, tuned.settings.method) == (8, 6, "last:2")
  assert (other.settings.start_from, other.settings.limit) == ("other", 64)
  assert members["prompt_8_seed_5"].settings.few_shot == members["prompt_8_seed_5"].settings.limit == 8


@pytest.mark.parametrize(
  ("task", "methods", "starts", "sentence"),
  [
    ("classify", ("full", "bayes"), (), "method 'bayes' is none of full, last, head, lora, prompt, tfidf"),
    ("translate", ("full", "tfidf"), (), "tfidf classifies texts, and the task is translate"),
    ("classify", ("tfidf",), ("other",), "needs a method that fine-tunes"),
  ],
)
def test_methods_that_cannot_be_are_refused(task, methods, starts, sentence):
  with pytest.raises(UserError, match=sentence):
    label_members.make_members(dataclasses.replace(SETTINGS, task=task), methods, (8,), 1, starts)


def test_a_method_overtakes_where_it_stays_above():
  curves = [curve("a", n8=0.1, n16=0.6, n32=0.3, n64=0.9), curve("b", n8=0.2, n16=0.5, n32=0.4, n64=0.5)]
  crossings = label_curves.find_crossings(curves)
  assert label_curves.crossing_lines(crossings) == ["a overtakes b between 32 and 64 examples"]
  assert label_curves.find_crossings([curve("a", n8=0.3), curve("b", n8=0.1), curve("c", n9=0.2)]) == []


def test_curves_are_means_over_seeds_and_keep_the_reason_of_an_absent_score():
  row = {"method": "full", "examples": 8, "low": 0.2, "high": 0.6}
  rows = [row | {"score": 0.3}, row | {"score": 0.5}]
  rows.append({"method": "prompt", "examples": 0, "score": None, "note": "has no head"})
  full, prompt, tfidf = label_curves.make_curves(rows, ("full", "prompt", "tfidf"))
  assert full.points[0].score == pytest.approx(0.4) and full.points[0].by_seed == (0.3, 0.5)
  assert (prompt.points, prompt.note, tfidf.note) == ((), "has no head", "not measured")
  lines = label_curves.table_lines([full, prompt], "accuracy")
  assert lines[2].split() == ["8", "0.4000", "[0.20,", "0.60]"] and lines[3] == "prompt: has no head"


def test_starts_are_ordered_by_loss_and_the_figure_shows_them(tmp_path):
  point = LabelPoint(8, 0.5, 0.4, 0.6, (0.5,))
  starts = [
    StartPoint("small", 3.0, point),
    StartPoint("large", 2.0, point),
    StartPoint("foreign", None, point),
  ]
  lines = label_curves.start_lines(starts, "accuracy")
  assert [line.split()[-1] for line in lines[1:]] == ["foreign", "small", "large"]
  files = label_figure.draw_curves(tmp_path, [curve("full", n8=0.2, n64=0.4)], 0.1, starts, "accuracy")
  assert all(file.stat().st_size > 1_000 for file in files)


def test_words_classify_texts_that_share_them():
  train = [TextExample("red wool", "warm"), TextExample("red felt", "warm"), TextExample("thin silk", "cool")]
  asked = [TextExample("felt", ""), TextExample("silk", "")]
  assert bag_of_words.predict_by_words(train, asked) == ["warm", "cool"]
  assert bag_of_words.predict_by_words(train[:2], asked) == ["warm", "warm"]
  with pytest.raises(UserError, match="no words to count"):
    bag_of_words.predict_by_words([TextExample("!", "a"), TextExample("?", "b")], asked)


def test_members_of_a_sweep_may_be_added_and_not_changed(tmp_path):
  member = SweepMember(SETTINGS)
  sweep_members._write_members(tmp_path, {"a": member})
  sweep_members._write_members(tmp_path, {"b": SweepMember(SETTINGS, "words")})
  assert sweep_members.read_member(tmp_path / "a") == member
  assert sweep_members.read_member(tmp_path / "b").kind == "words"
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "settings.json").write_text("{}")  # it has begun
  other = SweepMember(dataclasses.replace(SETTINGS, rank=3))
  with pytest.raises(UserError, match=r"holds another sweep \(rank: 8 -> 3\)"):
    sweep_members._write_members(tmp_path, {"a": other})


def test_narrow_models_get_larger_learning_rates_unless_one_is_given():
  assert [usual_rate("full", width) for width in (24, 384, 768, 1536)] == [1e-3, 1e-4, 5e-5, 2.5e-5]
  assert usual_rate("head", 24) == usual_rate("head", 768)
  assert SETTINGS.with_rate(384).learning_rate == 1e-4
  assert dataclasses.replace(SETTINGS, learning_rate=0.2).with_rate(384).learning_rate == 0.2


def test_few_examples_are_read_until_there_are_enough_steps():
  assert [SETTINGS.planned_steps(steps) for steps in (1, 90, 226)] == [300, 300, 678]
  assert dataclasses.replace(SETTINGS, epochs=2).planned_steps(1) == 2
  bounded = dataclasses.replace(SETTINGS, epochs=2, min_steps=40)
  assert [bounded.planned_steps(steps) for steps in (1, 19, 21)] == [40, 40, 42]
  with pytest.raises(UserError, match="leave one of them out"):
    dataclasses.replace(bounded, steps=7).check()
  assert [SETTINGS.evaluation_steps(steps) for steps in (1, 90, 226)] == [30, 90, 226]


def test_another_optimizer_is_another_fine_tuning_and_the_usual_one_keeps_its_identity():
  muon = dataclasses.replace(SETTINGS, optimizer="muon", beta2=0.98)
  assert (muon.optimizer_config.name, muon.optimizer_config.beta2) == ("muon", 0.98)
  assert len({SETTINGS.identity(), muon.identity(), dataclasses.replace(muon, beta2=0.97).identity()}) == 3
  before = {
    name: value
    for name, value in typed_json.encode_record(SETTINGS).items()
    if name not in ("optimizer", "beta2")
  }
  assert typed_json.decode_record(FinetuneSettings, before, "settings.json").identity() == SETTINGS.identity()
  with pytest.raises(UserError, match="optimizer is 'adam'; it must be one of adamw, muon"):
    dataclasses.replace(SETTINGS, optimizer="adam").check()


def test_a_classifier_of_words_has_a_row_of_its_own(tmp_path):
  folder = write_data(tmp_path / "data", "classify")
  settings = FinetuneSettings("classify", "no model is read", str(folder), limit=9)
  row = label_members.evaluate_untrained(SweepMember(settings, "words"))
  assert (row["method"], row["examples"], row["metric"]) == ("tfidf", 9, "accuracy")
  assert row["low"] <= row["score"] <= row["high"]


def test_a_prompt_without_room_for_examples_has_no_score_and_says_so(tmp_path, run_of):
  folder = write_data(tmp_path / "data", "classify")
  settings = FinetuneSettings(
    "classify", str(run_of("decoder")), str(folder), limit=30, few_shot=30, prompted_examples=2
  )
  row = label_members.evaluate_untrained(SweepMember(settings, "prompt"))
  assert (row["method"], row["examples"], row["score"]) == ("prompt", 0, None)
  assert "no solved example fits into half of the window" in row["note"]


def test_more_solved_examples_than_there_are_is_said_as_it_is(run_of, monkeypatch):
  loaded = loaded_model.load_model(run_of("decoder"))
  train = tuple(TextExample(letter, "x") for letter in "abc")
  data = TaskData("classify", train, train, train, ("x", "y"), "made here", "")
  monkeypatch.setattr(prompted, "_ask", lambda form, data, asked, before="": before.count("x"))
  asked = prompted.ask_model(
    loaded, dataclasses.replace(SETTINGS, prompt="{text}", prompted_examples=2), data, (9,)
  )
  assert asked.scores == {"3": 3}
  assert (
    "half of the window" not in asked.note
    and "there are 3 solved examples, and 9 were asked for" in asked.note
  )


def test_a_model_is_asked_a_sample_of_a_sorted_test_part(run_of, monkeypatch):
  loaded = loaded_model.load_model(run_of("decoder"))
  test = tuple(TextExample(f"{label}{number}", label) for label in "xy" for number in range(20))
  data = TaskData("classify", test, test, test, ("x", "y"), "made here", "")
  monkeypatch.setattr(prompted, "_ask", lambda form, data, asked, before="": {each.label for each in asked})
  settings = dataclasses.replace(SETTINGS, prompt="{text}", prompted_examples=12)
  asked = prompted.ask_model(loaded, settings, data, (0,))
  assert asked.scores == {"0": {"x", "y"}}
  assert asked.note == "on 12 of 40 test examples, drawn at random"
