"""Renders conversations with transformers through ten chat templates, for tests/finetuning/dialogues/test_chat.py.

It runs in an environment of its own, which need not have `gen`:

    python3 -m venv hf && hf/bin/pip install transformers==5.24.0 jinja2 tokenizers
    hf/bin/python scripts/make_chat_fixtures.py tests/finetuning/dialogues/chat_templates.json

The templates are written for this purpose, each in the style of a family of models. The file holds for each the
template, the special tokens, and a list of conversations with options, the text, and the spans of {% generation %}.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from transformers.utils import chat_template_utils

CHATML = """{% for message in messages %}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{% endif %}
"""
CHATML_MARKED = """{%- for message in messages %}
    {{- '<|im_start|>' ~ message['role'] ~ '\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}{{ message['content'] ~ '<|im_end|>' }}{%- endgeneration %}
    {%- else %}
        {{- message['content'] ~ '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
LLAMA_2 = """{% set system = '' %}
{% if messages and messages[0].role == 'system' %}
{% set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}
{% set messages = messages[1:] %}
{% endif %}
{% for message in messages %}
{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('roles must alternate: user, assistant, user, ...') }}
{% endif %}
{% if message.role == 'user' %}
{{ bos_token + '[INST] ' + (system if loop.first else '') + message.content.strip() + ' [/INST]' }}
{% else %}
{{ ' ' + message.content | trim + ' ' + eos_token }}
{% endif %}
{% endfor %}"""
LLAMA_3 = """{{ bos_token }}
{%- if tools is not none %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nTools: ' + (tools | tojson(indent=2)) + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
MISTRAL = """{%- set ns = namespace(system='', count=0) -%}
{{ bos_token }}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{%- set ns.system = m.content + '\\n\\n' -%}{%- continue -%}{%- endif -%}
{%- if m.role == 'user' -%}
{%- set ns.count = ns.count + 1 -%}
{{ '[INST] ' + (ns.system if ns.count == 1 else '') + m.content + '[/INST]' }}
{%- elif m.role == 'assistant' -%}
{{ ' ' + m.content + eos_token }}
{%- else -%}{{ raise_exception('only user and assistant are roles') }}{%- endif -%}
{%- endfor -%}"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}
{% for message in messages %}
{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
<start_of_turn>{{ role }}
{{ message['content'] | trim }}<end_of_turn>
{% endfor %}
{% if add_generation_prompt %}
<start_of_turn>model
{% endif %}
"""
QWEN_2 = """{%- if messages[0].role != 'system' -%}
{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
{%- endif -%}
{%- for message in messages -%}
{%- if message.content is string -%}{%- set content = message.content -%}
{%- else -%}
{%- set texts = message.content | selectattr('type', 'equalto', 'text') | map(attribute='text') -%}
{%- set content = texts | join('') -%}
{%- endif -%}
{{ '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' if add_generation_prompt else '' -}}"""
QWEN_3 = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.reasoning_content is defined and message.reasoning_content %}
{{- '<think>\\n' + message.reasoning_content.strip('\\n') + '\\n</think>\\n\\n' }}
{%- endif %}
{{- message.content.split('</think>')[-1].lstrip('\\n') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""
ZEPHYR = """{% for message in messages %}
<|{{ message['role'] }}|>
{{ message['content'] + eos_token }}
{% if loop.last and add_generation_prompt %}
<|assistant|>
{% endif %}
{% endfor %}"""
MACRO = """{% macro turn(name, text) %}
### {{ name | capitalize }}:
{{ text | replace('\\r\\n', '\\n') }}

{% endmacro %}
{% for message in messages if message.content %}
{{ turn({'user': 'instruction', 'assistant': 'response'}.get(message.role, message.role), message.content) }}
{%- if message.role == 'assistant' %}{{ eos_token }}
{% endif %}
{% if loop.index > 6 %}{% break %}{% endif %}
{% endfor %}
{% if add_generation_prompt %}
### Response:
{% endif %}
"""
TEMPLATES = {
  "chatml": CHATML, "chatml-marked": CHATML_MARKED, "llama-2": LLAMA_2, "llama-3": LLAMA_3, "mistral": MISTRAL,
  "gemma": GEMMA, "qwen-2": QWEN_2, "qwen-3": QWEN_3, "zephyr": ZEPHYR, "macro": MACRO,
}  # fmt: skip
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
PLAIN = [
  {"role": "user", "content": "  What is 2 + 2?\n"},
  {"role": "assistant", "content": "It is <b>4</b> & no more.  "},
  {"role": "user", "content": 'Größe, 数学 and "quotes" {{ 1 }}?'},
  {"role": "assistant", "content": "<think>hm</think>\n\nNone.", "reasoning": "Is it?\n", "tool_calls": None},
]
CONVERSATIONS: tuple[dict[str, Any], ...] = (
  {"messages": PLAIN},
  {"messages": PLAIN[:3], "add_generation_prompt": True},
  {"messages": [{"role": "system", "content": "Be brief."}, *PLAIN[:2]]},
  {"messages": PLAIN[:1], "add_generation_prompt": True, "enable_thinking": False,
   "tools": [{"type": "function", "function": {"name": "f", "description": "ä <x>"}}]},
  {"messages": PLAIN[1:2] + PLAIN[:1]},
  {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
)  # fmt: skip


def main() -> None:
  """Writes the file."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("output", type=Path)
  flags = parser.parse_args()
  words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
  tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, **TOKENS)
  entries = [
    {
      "name": name,
      "template": template,
      "cases": [render(tokenizer, template, case) for case in CONVERSATIONS],
    }
    for name, template in TEMPLATES.items()
  ]
  made = {"transformers": transformers.__version__, "tokens": TOKENS, "templates": entries}
  flags.output.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def render(tokenizer: Any, template: str, case: dict[str, Any]) -> dict[str, Any]:
  """Returns a conversation with its text and spans, or with a text of None where the template refuses it."""
  try:
    text = tokenizer.apply_chat_template(
      case["messages"],
      chat_template=template,
      tokenize=False,
      **{k: v for k, v in case.items() if k != "messages"},
    )
  except Exception:
    return case | {"text": None, "spans": []}
  spans: list[Any] = []
  if "generation" in template:
    options = {"chat_template": template, "return_assistant_tokens_mask": True, **TOKENS}
    conversations = [chat_template_utils._normalize_chat_messages(case["messages"])]
    rest = {key: value for key, value in case.items() if key != "messages"}
    spans = chat_template_utils.render_jinja_template(conversations, **options, **rest)[1][0]
  return case | {"text": text, "spans": spans}


if __name__ == "__main__":
  main()
