"""What a user can get wrong in a fine-tuning is one sentence, before anything is trained."""

import dataclasses

import pytest

from gen.data.tasks.examples import DialogueExample, Message, TextExample
from gen.errors import UserError
from gen.finetuning import finetune
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
  one = dataclasses.replace(data, labels=("tree",))
  assert "a single label, 'tree'" in check(run_of, one, tmp_path)
  empty = dataclasses.replace(data, test=())
  assert "has no test examples" in check(run_of, empty, tmp_path)
  assert "are of task tag, not classify" in check(run_of, data_of("tag"), tmp_path, task="classify")


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
