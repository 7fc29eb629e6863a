"""A conversation with a model: lines are prompts, answers are streamed, and commands change the settings.

    /temperature 0.5   /top_k 40   /top_p 0.95   /min_p 0.05   /repetition_penalty 1.2
    /max_tokens 64     /min_tokens 4     /window error|truncate|slide     /stop TEXT     /seed 3
    /history on|off    whether earlier lines and answers are part of the prompt
    /clear   /settings   /help   /quit

A line that begins with // is a prompt that begins with /.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax

from gen.cli import terminal, text_input
from gen.errors import UserError
from gen.generation import text
from gen.generation.decoding import context_window, decode
from gen.generation.decoding.sampling import Sampler
from gen.generation.loaded_model import LoadedModel

HELP = "\n".join((__doc__ or "").splitlines()[2:])
OF_SAMPLER = {field.name: field.type for field in dataclasses.fields(Sampler)}
OF_LIMITS = {"max_tokens": int, "min_tokens": int, "window": str}
MAX_SEED = 1 << 32  # seeds are 32 bits wide, as jax's keys take them by default
Write = Callable[[str], None]


class Conversation:
  """The settings and the text of a conversation.

  Attributes:
    sampler: the settings of sampling.
    limits: when an answer ends.
    transcript: lines and answers so far.
    marks: texts that end an answer, beside those of the limits.
    over: whether a command ended it.
    remembers: whether lines and answers so far are part of a prompt.
  """

  def __init__(
    self,
    restored: LoadedModel,
    sampler: Sampler,
    limits: decode.DecodeLimits,
    seed: int,
    blank: str = text.BLANK,
  ) -> None:
    """Starts an empty conversation."""
    self.restored, self.sampler, self.limits = restored, sampler, limits
    self.transcript, self.over = "", False
    self.marks: tuple[str, ...] = ()
    self._seed, self._blank, self._turn = seed, blank, 0
    # Encoders and encoder-decoders read one source or one text with blanks; a history is no part of what they were
    # trained on.
    self.remembers = restored.model.family not in ("encoder", "encoder_decoder")

  def handle_line(self, line: str, write: Write) -> None:
    """Runs a command, or streams the answer to a prompt; a user's mistake is written as a sentence.

    A KeyboardInterrupt ends the answer; its text so far becomes part of the conversation.
    """
    try:
      if line.startswith("/") and not line.startswith("//"):
        write(self._command(line[1:].strip()) + "\n")
      elif line.strip():
        self._answer(line[1:] if line.startswith("//") else line, write)
    except UserError as error:
      write(f"error: {error}\n")

  def _answer(self, line: str, write: Write) -> None:
    prompt = self.prompt_of(line)
    answer = ""
    try:
      for piece in self._pieces(prompt):
        write(piece)
        answer += piece
    # Ends the answer, not the conversation: what was said so far stays in its history.
    except KeyboardInterrupt:
      write(" [stopped]")
    write("\n")
    self._turn += 1
    if self.remembers:
      self.remember(line, answer)

  def prompt_of(self, line: str) -> str:
    """Returns the prompt of a line: what was said, where it counts, and the line."""
    return self.transcript + line if self.remembers else line

  def remember(self, line: str, answer: str) -> None:
    """Adds a line and its answer to what was said."""
    self.transcript += line + answer + "\n"

  def forget(self) -> None:
    """Empties the conversation."""
    self.transcript, self._turn = "", 0

  def _pieces(self, prompt: str) -> Iterator[str]:
    """Yields the answer piece by piece."""
    # A key for each turn: the same seed and lines give the same conversation, and two equal lines different answers.
    key = jax.random.fold_in(jax.random.key(self._seed), self._turn)
    written, answer = "", None
    options: dict[str, Any] = {name: getattr(self.limits, name) for name in OF_LIMITS}
    stops = (*self.limits.stop_strings, *self.marks)
    for (answer,) in text.stream_answers(
      self.restored, [prompt], self.sampler, key, blank=self._blank, every=1, stop_strings=stops, **options
    ):
      now = text.without_partial_stop(answer.text, stops)
      # What was printed cannot be taken back, so a text whose beginning changed waits for the end.
      if now.startswith(written) and now != written:
        yield now[len(written) :]
        written = now
    if answer is not None and answer.text != written:
      yield answer.text[len(written) :]

  def _command(self, words: str) -> str:
    """Returns the reply to a command.

    Raises:
      UserError: for an unknown command or an invalid value.
    """
    name, _, value = words.partition(" ")
    value = value.strip()
    if name in OF_SAMPLER:
      setting: dict[str, Any] = {name: _number(name, value, OF_SAMPLER[name])}
      changed = dataclasses.replace(self.sampler, **setting)
      changed.check(self.restored.model.vocab)
      self.sampler = changed
    elif name in OF_LIMITS:
      self._limit(name, value)
    elif name == "stop":
      self.limits = dataclasses.replace(self.limits, stop_strings=(value,) if value else ())
    elif name == "seed":
      seed = int(_number(name, value, int))
      if not 0 <= seed < MAX_SEED:
        raise UserError(f"/seed needs a number from 0 to 2^32 - 1, not {_shortened(value)!r}")
      # From the first turn again, so that the same seed and lines repeat a conversation.
      self._seed, self._turn = seed, 0
    elif name == "history":
      if value not in ("on", "off"):
        raise UserError(f"/history needs on or off, not {_shortened(value)!r}")
      self.remembers = value == "on"
    elif name == "clear":
      self.forget()
    elif name in ("quit", "exit"):
      self.over = True
      return "bye"
    elif name == "help":
      return HELP
    elif name != "settings":
      raise UserError(f"{_shortened('/' + name)!r} is not a command; /help lists the commands")
    return self.settings()

  def _limit(self, name: str, value: str) -> None:
    limit: Any = value if name == "window" else _number(name, value, int)
    if name == "window" and value not in context_window.POLICIES:
      raise UserError(f"/window needs one of {', '.join(context_window.POLICIES)}, not {_shortened(value)!r}")
    changed = dataclasses.replace(self.limits, **{name: limit})
    changed.check(self.restored.model.vocab)
    self.limits = changed

  def settings(self) -> str:
    """Returns the settings and the use of the window in one line."""
    parts = [f"{name} {getattr(self.sampler, name):g}" for name in OF_SAMPLER]
    parts += [f"{name} {getattr(self.limits, name)}" for name in OF_LIMITS]
    parts += [f"stop {stop!r}" for stop in self.limits.stop_strings]
    parts += [f"seed {self._seed}", f"history {'on' if self.remembers else 'off'}"]
    if self.transcript and self.remembers:
      used = text.count_tokens(self.restored, self.transcript, 0)
      parts.append(f"{used.prompt} tokens so far" + (f" of {used.window}" if used.window else ""))
    return ", ".join(parts)


def hold_conversation(conversation: Conversation) -> None:
  """Answers line after line of standard input until it ends, or until `/quit`."""
  where = conversation.restored.where
  terminal.print_progress(f"{where}; {conversation.settings()}; /help lists the commands")
  for line in text_input.input_lines():
    conversation.handle_line(line, lambda piece: print(piece, end="", flush=True))
    if conversation.over:
      break


def _number(name: str, value: str, kind: Any) -> float | int:
  try:
    return kind(value)
  except ValueError:
    what = "a whole number" if kind is int else "a number"
    raise UserError(f"/{name} needs {what}, not {_shortened(value)!r}") from None


def _shortened(value: str, max_length: int = 40) -> str:
  return value if len(value) <= max_length else f"{value[:max_length]}..."
