"""A dialogue at the terminal makes the prompts that fine-tuning on dialogues makes, turn by turn."""

import dataclasses
from types import SimpleNamespace

import pytest

from gen.config.heads import HeadConfig
from gen.data.tasks.examples import DialogueExample, Message
from gen.errors import UserError
from gen.finetuning import task_model
from gen.finetuning.dialogues import chat, chat_form
from gen.finetuning.dialogues.chat_conversation import ChatConversation
from gen.finetuning.dialogues.chat_form import ChatForm
from gen.finetuning.reports import predictions_file
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms.classify_form import TaskPrediction
from gen.generation import loaded_model
from gen.generation.decoding.decode import DecodeLimits
from gen.generation.decoding.sampling import GREEDY


class Scripted(ChatConversation):
  """Keeps its prompts, and answers what it is told to."""

  def _pieces(self, prompt):
    self.prompts = [*getattr(self, "prompts", []), prompt]
    yield from (" fine", "! ")


@pytest.fixture
def talk(run_of):
  folder = run_of("decoder")
  return Scripted(loaded_model.load_model(folder), folder, GREEDY, DecodeLimits(max_tokens=3), 0)


def say(conversation, line):
  written = []
  conversation.handle_line(line, written.append)
  return "".join(written)


def rendered(*turns):
  roles = ("user", "assistant", "user")
  messages = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
  return chat.default_template().render(messages, True, now=chat_form.chat_time()).text


def test_each_message_is_answered_after_the_whole_dialogue(talk):
  assert say(talk, "hello") == " fine! \n" and say(talk, "") == ""
  say(talk, "and now?")
  assert talk.prompts == [rendered("hello"), rendered("hello", "fine!", "and now?")]


def test_history_and_clear_begin_anew(talk):
  for command in ("/clear", "/history off"):
    say(talk, "hello")
    say(talk, command)
    say(talk, "again")
    assert talk.prompts[-1] == rendered("again")


def test_an_answer_ends_at_the_template_s_mark_whatever_stop_is_set(talk):
  assert talk.marks == ("<|im_end|>",)
  say(talk, "/stop x")
  assert talk.marks == ("<|im_end|>",) and talk.limits.stop_strings == ("x",)


def test_a_message_with_a_mark_is_a_sentence_and_the_dialogue_goes_on(talk):
  name = next(name for name, _ in talk.restored.reading.special if name)
  assert say(talk, f"a {name} b").startswith("error: the message: the text contains")
  say(talk, "hello")
  assert talk.prompts == [rendered("hello")]


def test_a_model_that_continues_no_text_holds_no_dialogue(run_of):
  loaded = loaded_model.load_model(run_of("encoder"))
  with pytest.raises(UserError, match="a model of family encoder holds no dialogue; choose a decoder"):
    ChatConversation(loaded, run_of("encoder"), GREEDY, DecodeLimits(max_tokens=3), 0)


def test_an_answer_leaves_room_for_the_messages_before_it(run_of):
  loaded = loaded_model.load_model(run_of("decoder"))
  template = chat.template_or_default(run_of("decoder"))
  settings = FinetuneSettings("instruct", "a run", "a file", max_length=22)
  assert ChatForm(loaded, template, settings).max_new == 11
  with pytest.raises(UserError, match="max_answer is 22, and a row holds 22 tokens"):
    ChatForm(loaded, template, dataclasses.replace(settings, max_answer=22))


def test_new_messages_are_answered_by_the_template_of_the_tuned_folder(run_of, tmp_path):
  loaded = loaded_model.load_model(run_of("decoder"))
  settings = FinetuneSettings("instruct", str(tmp_path / "moved since"), "talk", max_length=40)
  data = SimpleNamespace(train=())
  chat.save_template(tmp_path, chat.ChatTemplate("mine"))
  model = task_model.open_tuned(loaded, HeadConfig("none"), settings, data, tmp_path)
  assert model.form.template.template == "mine"


def test_a_dialogue_may_end_with_thanks_and_the_last_answer_is_the_label():
  talk = DialogueExample((Message("user", "a?"), Message("assistant", "b"), Message("user", "thanks")))
  (row,) = predictions_file.prediction_rows("instruct", [TaskPrediction("b", 0.0)], [talk])
  assert (row["label"], [each["content"] for each in row["input"]]) == ("b", ["a?"])


def test_dialogues_whose_answers_are_all_cut_off_are_refused(run_of):
  settings = FinetuneSettings("instruct", "a run", "talk", max_length=30, long="truncate")
  form = chat_form.ChatForm(loaded_model.load_model(run_of("decoder")), chat.default_template(), settings)
  talk = DialogueExample((Message("user", "a" * 40), Message("assistant", "b")))
  with pytest.raises(UserError, match="no training dialogue has an answer within the 30 tokens of a row"):
    form.rows([talk, talk], "training")
