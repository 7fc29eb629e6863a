"""Chat templates: a conversation as the text that a model was, or will be, trained on.

    template = find_template(folder)                     # of a model; None where it has none
    prompt = template.render(messages, add_generation_prompt=True).text
    chat = template.render(messages)
    chat.answers                                         # spans of the text that the assistant wrote

A message is {"role": "system" | "user" | "assistant", "content": text}. A template is Jinja code in
tokenizer_config.json or chat_template.jinja, which somebody else wrote: it is rendered in a sandbox, in a process of
its own with limits on time, memory and output (`chat_renderer`).
"""

import contextlib
import dataclasses
import datetime
import importlib.util
import json
import os
import re
import select
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen.data.tokenizers.tokenizer import PRETRAINED
from gen.errors import UserError, summarize_error
from gen.finetuning.dialogues import chat_renderer
from gen.finetuning.dialogues.chatml import CHATML
from gen.interop.runs import CHAT_TEMPLATE, KEPT
from gen.interop.tokenizers import settings
from gen.io import checksums, json_reading
from gen.training.run_folders.run_folder import TOKENIZER

FILE, FOLDER = CHAT_TEMPLATE, "additional_chat_templates"
DEFAULT = "default"
MAX_TEMPLATE = 1 << 20  # bytes; the longest in use have 20 kB
SECONDS, MEMORY, CHARACTERS = 2, 1 << 30, 1 << 24  # of one rendering
_WALL = 12  # wall-clock limit over that of processor time, for loaded machines
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_REASONING = ("reasoning_content", "thinking", "reasoning")
ASSISTANT = "assistant"
Message = Mapping[str, Any]


class RenderedChat(NamedTuple):
  """A conversation as text.

  Attributes:
    text: what the model reads.
    answers: begin and end of what the assistant wrote, with the mark of its end, in characters.
    misplaced: whether the template's marks of answers are not where the answers stand.
  """

  text: str
  answers: tuple[tuple[int, int], ...] = ()
  misplaced: bool = False


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
  """A template and the special tokens that it names.

  Attributes:
    template: Jinja code.
    tokens: texts of special tokens by the names that templates use, as bos_token.
    where: its origin, for errors.
    name: of several templates of one model.
  """

  template: str
  tokens: Mapping[str, str] = dataclasses.field(default_factory=dict)
  where: str = "the default chat template"
  name: str = DEFAULT

  def render(
    self,
    messages: Sequence[Message],
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
    now: datetime.datetime | None = None,
    **variables: Any,
  ) -> RenderedChat:
    """Returns a conversation as text; its answers are those that the template marks as generated.

    Args:
      messages: of the conversation, in order.
      add_generation_prompt: whether the text ends where the assistant's next answer begins.
      tools: JSON schemas of functions that the model may call.
      now: the time that the template may print; None is now. A run that is resumed needs one time throughout.
      variables: more values that the template reads, as enable_thinking=False.

    Raises:
      UserError: for messages that are none, or a template that fails, or exceeds its limits.
    """
    values = {
      "messages": _plain_messages(messages, self.where),
      "tools": None if tools is None else list(tools),
      "documents": None,
      "add_generation_prompt": add_generation_prompt,
    }
    moment = (now or datetime.datetime.now()).isoformat()
    request = {
      "template": self.template, "variables": dict(self.tokens) | values | variables, "now": moment
    }  # fmt: skip
    answer = _renderer().ask(request, self.where)
    spans = tuple((begin, end) for begin, end in answer["spans"])
    return RenderedChat(answer["text"], spans, answer["misplaced"])

  def render_with_answers(
    self,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    now: datetime.datetime | None = None,
    **variables: Any,
  ) -> RenderedChat:
    """Returns a conversation as text, with the span of each answer of the assistant.

    Where the template has no {% generation %} tag, the conversation is rendered up to each answer and through it; the
    answer is what the second has more. Its end of turn belongs to it, white space after that does not.

    Raises:
      UserError: as `render`, or if the text of an answer depends on what follows it.
    """
    now = now or datetime.datetime.now()
    options: dict[str, Any] = {"tools": tools, "now": now, **variables}
    chat = self.render(messages, **options)
    if chat.misplaced:
      raise UserError(
        f"{self.where} has {{% generation %}} inside {{% set %}} or {{% filter %}}, where an answer has no place; move "
        "it out of that block"
      )
    if _GENERATION.search(self.template):
      return chat
    answers = []
    for number, message in enumerate(messages):
      if message.get("role") == ASSISTANT:
        answers.append(self._find_answer(chat.text, messages, number, options))
    return RenderedChat(chat.text, tuple(answers))

  def _find_answer(
    self, whole: str, messages: Sequence[Message], number: int, options: dict[str, Any]
  ) -> tuple[int, int]:
    through = self.render(messages[: number + 1], **options).text
    # A template may refuse an empty conversation.
    plain = self.render(messages[:number], **options).text if number else ""
    prompt = self.render(messages[:number], True, **options).text if number else ""
    # Some prompts end in more than the text of training has there, as the empty thoughts of Qwen 3.
    pairs = enumerate(zip(prompt, through, strict=False))
    begin = next((at for at, (one, other) in pairs if one != other), min(len(prompt), len(through)))
    if not whole.startswith(through) or begin < len(plain):
      raise UserError(
        f"{self.where}: the text of message {number + 1} depends on the messages after it, so that its loss has no "
        "place; mark answers in the template by {% generation %} ... {% endgeneration %}"
      )
    end = len(through.rstrip())
    # White space at the very end of an answer belongs to it where nothing marks the end of its turn.
    marked = through[begin:end].strip() != message_text(messages[number]).strip()
    return begin, max(begin, end if marked else len(through))


def message_text(message: Message) -> str:
  """Returns the text of a message, whose content may be a list of parts."""
  content = message.get("content") or ""
  if isinstance(content, str):
    return content
  return "".join(part.get("text", "") for part in content if isinstance(part, Mapping))


def _plain_messages(messages: Sequence[Message], where: str) -> list[dict[str, Any]]:
  """Returns messages as templates expect them: without null values, reasoning under each of its names."""
  plain = []
  for number, message in enumerate(messages, 1):
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
      raise UserError(
        f"{where}: message {number} is no object with a role; write {{'role': 'user', 'content': ...}}"
      )
    values = {key: value for key, value in message.items() if value is not None}
    thought = next((values[key] for key in _REASONING if key in values), None)
    if thought is not None:
      values = {"thinking": thought, **values, "reasoning_content": thought}
    plain.append(values)
  return plain


class _Renderer:
  """The process that renders."""

  def __init__(self) -> None:
    self._process: subprocess.Popen[str] | None = None
    self._owner = os.getpid()
    self._lock = threading.Lock()

  def ask(self, request: Mapping[str, object], where: str) -> chat_renderer.RenderAnswer:
    """Returns the answer to a request; raises UserError with what goes wrong."""
    try:
      line = json.dumps(request)
    except (TypeError, ValueError, RecursionError) as error:
      raise UserError(
        f"{where}: the conversation holds a value that is no JSON ({summarize_error(error)})"
      ) from error
    # One request and its answer at a time: two threads would read each other's lines.
    with self._lock:
      answer = self._ask_in_turn(line)
    if answer is None:
      raise UserError(f"{where} cannot be rendered: it takes too long, or too much memory")
    if "error" in answer:
      raise UserError(f"{where} cannot be rendered: {answer['error']}")
    return answer

  def _ask_in_turn(self, line: str) -> chat_renderer.RenderAnswer | None:
    if self._owner != os.getpid():  # a forked process must not write into its parent's pipes
      self._process, self._owner = None, os.getpid()
    # It may have died of its own limits at the last request.
    if self._process is not None and self._process.poll() is not None:
      self.close()
    answer = self._exchange(line)
    if answer is None:
      self.close()
    return answer

  def _exchange(self, line: str) -> chat_renderer.RenderAnswer | None:
    """Returns the answer to a line; None if there is none in time."""
    process = self._process or self._start()
    if process.stdin is None or process.stdout is None:
      return None
    try:
      process.stdin.write(line + "\n")
      process.stdin.flush()
      # The renderer limits its own processor time; a wall clock is needed too, for a machine with other work.
      if not select.select([process.stdout], [], [], SECONDS * _WALL)[0]:
        return None
      answer = process.stdout.readline()
      return json.loads(answer) if answer else None
    except (OSError, ValueError):
      return None

  def _start(self) -> "subprocess.Popen[str]":
    folders = set()
    for library in ("jinja2", "markupsafe"):
      spec = importlib.util.find_spec(library)
      if spec is not None and spec.origin is not None:
        folders.add(str(Path(spec.origin).parents[1]))
    limits = [str(SECONDS), str(MEMORY), str(CHARACTERS)]
    path = str(Path(chat_renderer.__file__).resolve())
    # -I and -S: no environment variables and no site packages. Only the two libraries are on the path of the process.
    command = [sys.executable, "-I", "-S", path, *limits, *sorted(folders)]
    pipe = subprocess.PIPE
    self._process = subprocess.Popen(
      command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, encoding="ascii"
    )
    # The process must not outlive its owner, however that ends.
    weakref.finalize(self, _end, self._process)
    return self._process

  def close(self) -> None:
    """Ends the process."""
    if self._process is not None:
      _end(self._process)
    self._process = None


def _end(process: "subprocess.Popen[str]") -> None:
  with contextlib.suppress(OSError):
    process.kill()
  process.wait()
  for pipe in (process.stdin, process.stdout):
    if pipe is not None:
      with contextlib.suppress(OSError):
        pipe.close()


_renderers: list[_Renderer] = []


def _renderer() -> _Renderer:
  """Returns the one renderer of this process."""
  if not _renderers:
    _renderers.append(_Renderer())
  return _renderers[0]


def default_template() -> ChatTemplate:
  """Returns ChatML, for a model that has no template."""
  return ChatTemplate(CHATML)


def read_template(folder: str | Path, name: str = "") -> ChatTemplate | None:
  """Returns the chat template of a folder, or None where it has none.

  chat_template.jinja comes before tokenizer_config.json, as in transformers.

  Args:
    folder: with the files of a tokenizer.
    name: of one of several templates; empty is the default one.

  Raises:
    UserError: for a file that cannot be read, or a name that is not there.
  """
  folder = Path(folder)
  found = _templates_of(folder)
  if not found:
    return None
  chosen = name or (DEFAULT if DEFAULT in found else "")
  if not chosen and len(found) == 1:
    chosen = next(iter(found))
  if chosen not in found:
    raise UserError(f"{folder} has no chat template {chosen or DEFAULT!r}; it has {', '.join(sorted(found))}")
  template, where = found[chosen]
  return ChatTemplate(template, _tokens_of(folder), where, chosen)


def find_template(folder: str | Path, name: str = "") -> ChatTemplate | None:
  """Returns the chat template of a model's folder, of a run or of the Hugging Face format, or None.

  A run has its own beside its config, or that of the checkpoint or the tokenizer that it came from.

  Raises:
    UserError: as `read_template`.
  """
  places = [Path(folder) / place for place in (Path(), Path(KEPT), Path(TOKENIZER) / PRETRAINED)]
  found = next((template for place in places if (template := read_template(place, name)) is not None), None)
  if found is None or found.tokens:
    return found
  # A run's own template stands alone; the tokens that it names are those of its tokenizer.
  return dataclasses.replace(found, tokens=next(filter(None, map(_tokens_of, places)), {}))


def _tokens_of(folder: Path) -> dict[str, str]:
  """Returns the texts of a folder's special tokens by the names that templates use."""
  return {f"{role}_token": token for role, token in settings.read_settings(folder).roles.items()}


def template_or_default(folder: str | Path) -> ChatTemplate:
  """Returns the default chat template of a model's folder, or ChatML where it has none.

  Raises:
    UserError: as `read_template`.
  """
  return find_template(folder) or default_template()


def _templates_of(folder: Path) -> dict[str, tuple[str, str]]:
  """Returns (template, where it stands) of each template by its name."""
  found: dict[str, tuple[str, str]] = {}
  path = folder / settings.CONFIG
  if path.is_file():
    given = json_reading.read_json(path).get("chat_template")
    where = f"{path}: chat_template"
    if isinstance(given, list):
      for entry in given:
        json_reading.require_kind(entry, dict, where)
        label = json_reading.require_field(entry, "name", str, where)
        found[label] = (json_reading.require_field(entry, "template", str, where), f"{where} {label[:40]!r}")
    elif given is not None:
      found[DEFAULT] = (json_reading.require_kind(given, str, where), where)
  files = {DEFAULT: folder / FILE} | {
    each.stem: each for each in sorted((folder / FOLDER).glob("*.jinja")) if each.is_file()
  }
  # A template file replaces all of tokenizer_config.json's, as in transformers.
  if files[DEFAULT].is_file():
    found = {}
  for label, file in files.items():
    if file.is_file():
      found[label] = (_read_text(file), str(file))
  for template, where in found.values():
    if len(template) > MAX_TEMPLATE:
      raise UserError(
        f"{where} has {len(template):,} characters, more than the {MAX_TEMPLATE:,} of a chat template"
      )
  return found


def _read_text(path: Path) -> str:
  try:
    if path.stat().st_size > MAX_TEMPLATE:
      raise UserError(f"{path} is longer than the {MAX_TEMPLATE:,} bytes of a chat template")
    return path.read_text(encoding="utf-8")
  except UnicodeDecodeError as error:
    raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from error
  except OSError as error:
    raise UserError(f"{path} cannot be read: {error.strerror}") from error


def save_template(folder: str | Path, template: ChatTemplate) -> Path:
  """Writes a template as chat_template.jinja, which `read_template` and transformers read; returns its path.

  Raises:
    UserError: if the folder cannot be written.
  """
  path = Path(folder) / FILE
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    checksums.write_atomically(path, template.template.encode())
  except OSError as error:
    raise UserError(f"{path} cannot be written: {error.strerror}") from error
  return path
