"""A conversation in the form of a chat template: lines are messages of the user, answers those of the assistant."""

from pathlib import Path

from gen.data.tasks.examples import Message
from gen.finetuning.dialogues import chat, chat_form
from gen.generation.conversation import Conversation
from gen.generation.decoding.decode import DecodeLimits
from gen.generation.decoding.sampling import Sampler
from gen.generation.loaded_model import LoadedModel


class ChatConversation(Conversation):
  """A conversation whose prompts the template of a model's folder makes, as in fine-tuning on dialogues."""

  def __init__(
    self, loaded: LoadedModel, folder: str | Path, sampler: Sampler, limits: DecodeLimits, seed: int
  ) -> None:
    """Starts an empty dialogue.

    Args:
      loaded: the model.
      folder: its folder, with its template.
      sampler: the first settings of sampling.
      limits: the first limits of an answer.
      seed: of the random draws.

    Raises:
      UserError: for a model that continues no text, or a template that cannot be rendered.
    """
    loaded, self._template, marks = chat_form.open_chat(loaded, folder)
    super().__init__(loaded, sampler, limits, seed)
    self.marks = marks
    self._messages: list[Message] = []

  def prompt_of(self, line: str) -> str:
    """Returns the text of the dialogue before the answer to a line."""
    message = Message("user", line)
    chat_form.require_no_marks([message], self.restored, "the message")
    before = self._messages if self.remembers else []
    return chat_form.chat_prompt(self._template, self.restored, [*before, message])

  def remember(self, line: str, answer: str) -> None:
    """Adds a message and its answer to the dialogue."""
    self._messages += [Message("user", line), Message(chat.ASSISTANT, answer.strip())]
    self.transcript += line + answer + "\n"

  def forget(self) -> None:
    """Begins a new dialogue."""
    super().forget()
    self._messages = []
