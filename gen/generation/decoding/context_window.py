"""The context window: how many tokens fit, and three policies for texts that do not fit.

error      raises UserError if the prompt and its new tokens do not fit
truncate   drops tokens at the left of the prompt until the new ones fit
slide      whenever the window is full, the later half of the text becomes the prompt of what follows
"""

from typing import NamedTuple

import numpy as np

from gen.errors import UserError

POLICIES = ("error", "truncate", "slide")


class WindowUse(NamedTuple):
  """Token counts of a window; `left` is negative if they do not fit, and None without a window.

  Attributes:
    prompt: tokens of the prompt.
    new: requested new tokens.
    window: its size in tokens, 0 for unlimited.
  """

  prompt: int
  new: int
  window: int

  @property
  def used(self) -> int:
    """The sum of prompt and new tokens."""
    return self.prompt + self.new

  @property
  def left(self) -> int | None:
    """Unused tokens of the window."""
    return self.window - self.used if self.window else None


def fit_prompts(prompts: list[np.ndarray], new: int, window: int, policy: str) -> list[np.ndarray]:
  """Returns the prompts, truncated if the policy is to truncate or slide.

  Raises:
    UserError: for prompts that do not fit under policy error, and for an unknown policy.
  """
  if policy not in POLICIES:
    raise UserError(f"window {policy!r} is unknown; choose one of {', '.join(POLICIES)}")
  counts = [WindowUse(len(ids), new, window) for ids in prompts]
  # A sliding window is cut later, each time that it is full.
  if not window or policy == "slide":
    return prompts
  if policy == "truncate" and new >= window:
    raise UserError(
      f"{new} new tokens do not fit with a prompt into the context window of {window}; ask for at most {window - 1}"
    )
  if policy == "truncate":
    # The end of a prompt stays: what the model continues stands there.
    return [ids[-(window - new) :] for ids in prompts]
  for row, count in enumerate(counts):
    if count.used > window:
      raise UserError(
        f"prompt {row} has {count.prompt} tokens, and with {new} new ones needs {count.used} of the context window's"
        f" {window}; shorten it, ask for fewer tokens, or choose window truncate or slide"
      )
  return prompts


def fit_sources(sources: list[np.ndarray], window: int, policy: str) -> list[np.ndarray]:
  """Returns an encoder's sources, cut at their left unless the policy is error.

  Raises:
    UserError: for one that is too long.
  """
  for row, ids in enumerate(sources):
    if window and len(ids) > window and policy == "error":
      raise UserError(
        f"source {row} has {len(ids)} tokens, more than the context window's {window}; shorten it, or choose window"
        " truncate or slide"
      )
  return [ids[-window:] for ids in sources] if window else sources


def slide_window(text: np.ndarray, window: int) -> np.ndarray:
  """Returns the text after the window slides: all of it while one more token fits."""
  # Half of the window, so that the prompt is read anew only after many tokens.
  return text if len(text) < window else text[-max(1, window // 2) :]
