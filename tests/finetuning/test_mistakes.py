"""What a user can get wrong in a fine-tuning is one sentence, before anything is trained."""

import dataclasses

import numpy as np
import pytest

import gen
from gen.data.tasks.examples import (
  EXAMPLES,
  DialogueExample,
  Message,
  PairExample,
  TaggedExample,
  TextExample,
)
from gen.errors import UserError
from gen.finetuning import finetune, predicting
from gen.finetuning.settings import FinetuneSettings
from tests.finetuning.conftest import task_data


def dialogue(text):
  return DialogueExample((Message("user", text), Message("assistant", text[:3])))


CASES = {
  "layers": ({"method": "last:0"}, "write the number of layers"),
  "method_name": ({"method": "adapter"}, "must be full, head, last:N or lora"),
  "batch": ({"batch": 8, "microbatches": 3}, "3 microbatches do not divide"),
  "length": ({"max_length": 60}, "positions for 48 tokens"),
  "short": ({"max_length": 9}, "longer than the 7 tokens"),
  "form": ({"form": "text"}, "form=text is none of a model of family encoder"),
  "prompt": ({"prompt": "{text}"}, "prompt is a template of form=text"),
  "stride": ({"long": "windows", "stride": 46}, "share 46; choose a smaller stride"),
  "targets": ({"method": "lora", "targets": ("gate",)}, "'gate', which matches no matrix"),
  "rank": ({"method": "lora", "rank": 100}, "above the 20"),
  "special": ({"max_length": 2, "long": "truncate"}, "a row of 2 tokens has no room for text"),
  "text_for_a_number": ({"epochs": "3"}, "epochs is '3'; it must be a whole number"),
  "fraction": ({"batch": 8.0}, "batch is 8.0; it must be a whole number"),
  "truth": ({"seed": True}, "seed is True; it must be a whole number"),
  "none": ({"dropout": None}, "dropout is None; it must be a number"),
  "not_a_list": ({"targets": "query"}, "targets is 'query'; it must be a list of names"),
  "not_names": ({"columns": {"text": 1}}, "columns is {'text': 1}; it must be names of columns"),
}


def check(run_of, data, tmp_path, family="encoder", **changes):
  values = {"task": data.task, "start_from": str(run_of(family)), "data": data.source} | changes
  with pytest.raises(UserError) as caught:
    finetune.finetune_model(FinetuneSettings(**values), tmp_path / "run", data=data)
  assert not (tmp_path / "run" / "journal.jsonl").exists() and "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize("case", CASES)
def test_settings_that_cannot_be_are_one_sentence(run_of, data_of, tmp_path, case):
  changes, sentence = CASES[case]
  assert sentence in check(run_of, data_of("classify"), tmp_path, **changes)


def test_a_task_that_a_family_cannot_do_names_the_families_that_can(run_of, data_of, tmp_path):
  said = check(run_of, data_of("translate"), tmp_path)
  assert "cannot be fine-tuned to translate; start from a model of family decoder or encoder_decoder" in said


def test_dialogues_of_an_encoder_decoder_name_the_way_to_train_on_them(run_of, tmp_path):
  data = dataclasses.replace(task_data("instruct", dialogue), source="talk.jsonl")
  said = check(run_of, data, tmp_path, "encoder_decoder")
  assert "model of family decoder, or give prompts and answers as pairs of texts to task translate" in said


def test_one_label_an_empty_part_and_another_task_are_refused(run_of, data_of, tmp_path):
  data = data_of("classify")
  train, development, test = (
    tuple(dataclasses.replace(example, label="tree") for example in part)
    for part in (data.train, data.development, data.test)
  )
  one = dataclasses.replace(data, labels=("tree",), train=train, development=development, test=test)
  assert "a single label, 'tree'" in check(run_of, one, tmp_path)
  empty = dataclasses.replace(data, test=())
  assert "has no test examples" in check(run_of, empty, tmp_path)
  assert "are of task tag, not classify" in check(run_of, data_of("tag"), tmp_path, task="classify")


PAIR = PairExample("a", "b")
ODD = {
  "kind": (
    "classify",
    {"development": (PAIR,)},
    "development example 1 is a PairExample; task classify reads TextExample",
  ),
  "label": (
    "classify",
    {"test": (TextExample("a", "new"),)},
    "test example 1 has the label 'new', which is none of",
  ),
  "number": (
    "classify",
    {"test": (TextExample("a", "", label_value=2.0),)},
    "test example 1 has a number, unlike",
  ),
  "tag": ("tag", {"test": (TaggedExample(("a",), ("B-X",)),)}, "test example 1 has the label 'B-X'"),
  "silent": (
    "instruct",
    {"train": (DialogueExample((Message("user", "a"),)),)},
    "no message of the assistant",
  ),
  "tags": ("tag", {"train": (TaggedExample(("a", "b"), ("O",)),)}, "train example 1 has 2 tokens and 1 tags"),
}


@pytest.mark.parametrize("case", ODD)
def test_examples_made_in_python_are_checked_as_those_of_files(run_of, data_of, tmp_path, case):
  task, parts, sentence = ODD[case]
  data = task_data(task, dialogue) if task == "instruct" else data_of(task)
  family = "decoder" if task == "instruct" else "encoder"
  assert sentence in check(run_of, dataclasses.replace(data, **parts), tmp_path, family)


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"data": [1, 2]}, "data is a list; give a file"),
    ({"workdir": None}, "workdir is None; give a folder"),
    ({"start_from": 3}, "start_from is 3; give a folder"),
  ],
)
def test_arguments_of_another_type_are_one_sentence(changes, sentence):
  arguments = {"start_from": "a", "data": "b", "task": "classify", "workdir": "c"} | changes
  with pytest.raises(UserError, match=sentence):
    gen.finetune(**arguments)


def test_lists_and_numbers_of_numpy_are_settings(monkeypatch):
  taken = []
  monkeypatch.setattr(finetune, "finetune_model", lambda settings, *_, **__: taken.append(settings))
  gen.finetune("a", "b", "tag", "c", targets=["query"], epochs=np.int64(3), alpha=np.float32(0.5))
  taken[0].check()
  assert (taken[0].targets, taken[0].epochs, taken[0].alpha) == (("query",), 3, 0.5)


GIVEN = {
  "classify": (["red", ("red", "sun"), {"text": "red"}], [("a", "b", "c"), " ", 3, {"label": "a"}, ()]),
  "tag": (["red sun", ["red", "sun"], {"tokens": ["red"]}], [[], "", ["red", ""], {"tokens": "red"}]),
  "answer": ([("who?", "she"), {"context": "she", "question": "who?"}], ["ab", ("who?",), ("who?", " "), {}]),
  "translate": (["red", {"source": "red"}], [("a", "b"), None, {"text": "a"}]),
  "instruct": (["red", [{"role": "user", "content": "red"}]], [[], {"role": "user", "content": "red"}, ""]),
}


@pytest.mark.parametrize("task", GIVEN)
def test_inputs_of_a_task_are_texts_or_objects_of_its_fields_and_nothing_else(task):
  good, bad = GIVEN[task]
  for number, given in enumerate(good, 1):
    assert isinstance(predicting.make_example(task, given, ("O", "X"), number), EXAMPLES[task])
  for given in bad:
    with pytest.raises(UserError, match=f"input 7 is .*; task {task} reads "):
      predicting.make_example(task, given, ("O", "X"), 7)


def test_predictions_need_a_list_of_inputs(tmp_path):
  for inputs, sentence in (
    ("red", "give a list"),
    ({"text": "red"}, "give a list"),
    ([], "no inputs"),
    (3, "give a list"),
  ):
    with pytest.raises(UserError, match=sentence):
      gen.predict(tmp_path, inputs)


def test_class_weights_need_classes_with_a_head(run_of, data_of, tmp_path):
  said = check(run_of, data_of("translate"), tmp_path, class_weights="balanced")
  assert "class_weights needs classes" in said
  said = check(run_of, data_of("classify"), tmp_path, "decoder", class_weights="balanced", form="text")
  assert "class_weights needs form=head" in said


def test_a_text_that_cannot_be_encoded_is_named_by_its_number(run_of, data_of, tmp_path):
  data = data_of("classify")
  surrogate = dataclasses.replace(data, train=(*data.train, TextExample("half \ud800", "tree")))
  assert "training text 49: the text has half of a surrogate pair" in check(run_of, surrogate, tmp_path)


def test_a_folder_that_holds_a_run_is_not_overwritten(run_of, data_of):
  settings = FinetuneSettings("classify", str(run_of("encoder")), "made here")
  with pytest.raises(UserError, match="holds a run or a model already"):
    finetune.finetune_model(settings, run_of("encoder"), data=data_of("classify"))
