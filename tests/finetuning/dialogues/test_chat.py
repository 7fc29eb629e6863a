"""Chat templates give the texts of transformers, recorded by scripts/make_chat_fixtures.py."""

import datetime
import json
from pathlib import Path

import pytest

from gen.errors import UserError
from gen.finetuning.dialogues import chat
from gen.finetuning.dialogues.chat import ChatTemplate

FIXTURES = json.loads((Path(__file__).parent / "chat_templates.json").read_text(encoding="utf-8"))
TEMPLATES = {entry["name"]: entry for entry in FIXTURES["templates"]}
TALK = [
  {"role": "user", "content": "Hi"},
  {"role": "assistant", "content": "Yes. "},
  {"role": "user", "content": "And?"},
  {"role": "assistant", "content": "No."},
]


def template_of(name):
  return ChatTemplate(TEMPLATES[name]["template"], FIXTURES["tokens"], name)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_conversation_is_rendered_as_transformers_renders_it(name):
  for case in TEMPLATES[name]["cases"]:
    options = {key: value for key, value in case.items() if key not in ("messages", "text", "spans")}
    if case["text"] is None:
      with pytest.raises(UserError, match=f"{name} cannot be rendered: "):
        template_of(name).render(case["messages"], **options)
      continue
    rendered = template_of(name).render(case["messages"], **options)
    assert rendered.text == case["text"]
    assert [list(span) for span in rendered.answers] == case["spans"]


@pytest.mark.parametrize(
  ("name", "answers"),
  [
    ("chatml", ["Yes. <|im_end|>", "No.<|im_end|>"]),
    ("chatml-marked", ["Yes. <|im_end|>", "No.<|im_end|>"]),
    ("llama-2", [" Yes. </s>", " No. </s>"]),
    ("llama-3", ["Yes.<|eot_id|>", "No.<|eot_id|>"]),
    ("mistral", [" Yes. </s>", " No.</s>"]),
    ("gemma", ["Yes.<end_of_turn>", "No.<end_of_turn>"]),
    ("qwen-3", ["Yes. <|im_end|>", "No.<|im_end|>"]),
  ],
)
def test_answers_are_what_the_assistant_wrote_with_its_end_of_turn(name, answers):
  rendered = template_of(name).render_with_answers(TALK)
  assert [rendered.text[begin:end] for begin, end in rendered.answers] == answers


def test_an_answer_whose_text_depends_on_later_messages_is_one_sentence():
  code = "{% for m in messages %}[{{ m.content if loop.last else '-' }}]{% endfor %}"
  with pytest.raises(UserError, match="message 2 depends on the messages after it"):
    ChatTemplate(code).render_with_answers(TALK)


def test_marks_of_answers_in_a_block_that_is_held_back_are_one_sentence():
  marked = "{% generation %}{{ message.content }}{% endgeneration %}"
  held = (
    f"{{% for message in messages %}}[{{% set text %}}a {marked}{{% endset %}}{{{{ text }}}}]{{% endfor %}}"
  )
  with pytest.raises(UserError, match=r"inside \{% set %\} or \{% filter %\}, where an answer has no place"):
    ChatTemplate(held).render_with_answers(TALK)
  assert ChatTemplate(held).render(TALK[:1]).text == "[a Hi]"


def test_white_space_at_the_end_of_an_answer_without_a_mark_belongs_to_it():
  code = "{% for m in messages %}{{ m.content }}{% endfor %}"
  rendered = ChatTemplate(code).render_with_answers(TALK[:2])
  assert [rendered.text[begin:end] for begin, end in rendered.answers] == ["Yes. "]


def test_the_default_template_is_chatml_and_prompts_are_prefixes_of_answers():
  template = chat.default_template()
  whole = template.render_with_answers(TALK)
  assert whole.text == (
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes. <|im_end|>\n"
    "<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\nNo.<|im_end|>\n"
  )
  for number, (begin, end) in zip((1, 3), whole.answers, strict=True):
    assert template.render(TALK[:number], add_generation_prompt=True).text == whole.text[:begin]
    assert whole.text[begin:end] == TALK[number]["content"] + "<|im_end|>"


HOSTILE = {
  "{% set r = range(99999) %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}": "processor time",
  "{{ 'a'.center(10 ** 11) }}": "MiB of memory",
  "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}": "characters",
  "{{ ''.__class__.__mro__ }}": "unsafe",
  "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "too deeply",
  "{% for %}": "TemplateSyntaxError",
  "{% include 'other' %}": "no loader",
  "{{ messages.append(1) }}": "SecurityError",
  "{{ raise_exception('roles must alternate') }}": "roles must alternate",
}


@pytest.mark.parametrize("code", HOSTILE)
def test_a_template_that_fails_or_exceeds_its_limits_is_one_sentence(code, monkeypatch):
  monkeypatch.setattr(chat, "SECONDS", 1)
  monkeypatch.setattr(chat, "_renderers", [])
  with pytest.raises(UserError, match=f"cannot be rendered: .*{HOSTILE[code]}"):
    ChatTemplate(code).render(TALK)
  # The renderer answers the next request.
  assert ChatTemplate("{{ messages[0].content }}").render(TALK).text == "Hi"


def test_a_renderer_that_died_is_started_again(monkeypatch):
  renderer = chat._Renderer()
  monkeypatch.setattr(chat, "_renderers", [renderer])
  assert ChatTemplate("a").render([]).text == "a"
  renderer._process.kill()
  renderer._process.wait()
  assert ChatTemplate("b").render([]).text == "b"
  renderer.close()


def test_the_time_that_a_template_prints_is_an_argument():
  now = datetime.datetime(2026, 3, 7)
  assert ChatTemplate("{{ strftime_now('%d %b %Y') }}").render([], now=now).text == "07 Mar 2026"


def test_templates_are_read_from_either_file_of_a_tokenizer(tmp_path):
  assert chat.read_template(tmp_path) is None
  config = tmp_path / "tokenizer_config.json"
  config.write_text(json.dumps({"chat_template": "A{{ bos_token }}", "bos_token": {"content": "<b>"}}))
  assert chat.read_template(tmp_path).render([]).text == "A<b>"
  named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
  config.write_text(json.dumps({"chat_template": named}))
  assert chat.read_template(tmp_path).template == "D"
  assert chat.read_template(tmp_path, "tool_use").template == "T"
  with pytest.raises(UserError, match="no chat template 'x'; it has default, tool_use"):
    chat.read_template(tmp_path, "x")
  chat.save_template(tmp_path, chat.default_template())
  assert chat.read_template(tmp_path).template == chat.CHATML


def test_a_run_has_the_template_of_what_it_came_from_or_its_own(tmp_path):
  assert chat.find_template(tmp_path) is None
  for place in ("tokenizer/pretrained", "huggingface", ""):
    chat.save_template(tmp_path / place, ChatTemplate(f"from {place}"))
    assert chat.find_template(tmp_path).template == f"from {place}"


def test_a_run_s_own_template_names_the_tokens_of_its_tokenizer(tmp_path):
  chat.save_template(tmp_path, ChatTemplate("{{ bos_token }}A"))
  assert chat.find_template(tmp_path).render([]).text == "A"
  (tmp_path / "huggingface").mkdir()
  (tmp_path / "huggingface" / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<b>"}))
  assert chat.find_template(tmp_path).render([]).text == "<b>A"


@pytest.mark.parametrize(
  ("config", "sentence"),
  [
    ({"chat_template": 3}, "chat_template holds a whole number where text is expected"),
    ({"chat_template": [{"name": "a"}]}, "chat_template has no 'template'"),
    ({"chat_template": "a" * (1 << 21)}, "more than the 1,048,576 of a chat template"),
  ],
)
def test_a_file_without_a_proper_template_is_one_sentence(config, sentence, tmp_path):
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
  with pytest.raises(UserError, match=sentence):
    chat.read_template(tmp_path)


@pytest.mark.parametrize(
  ("messages", "sentence"),
  [
    ([{"content": "a"}], "message 1 is no object with a role"),
    ([{"role": "user", "content": {1, 2}}], "no JSON"),
  ],
)
def test_messages_that_are_none_are_one_sentence(messages, sentence):
  with pytest.raises(UserError, match=sentence):
    chat.default_template().render(messages)
