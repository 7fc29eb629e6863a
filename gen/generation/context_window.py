"""The context window: how many tokens fit, and what becomes of those that do not.

error      a prompt whose new tokens would not fit is refused
truncate   the prompt loses tokens at its left until the new ones fit
slide      whenever the window is full, the later half of the text becomes the prompt of what follows
"""

from typing import NamedTuple

import numpy as np

from gen.errors import UserError

POLICIES = ("error", "truncate", "slide")


class WindowUse(NamedTuple):
  """Tokens of a window; `left` is below 0 where they do not fit, and None where there is no window.

  Attributes:
    prompt: tokens of the prompt.
    new: tokens that are asked for.
    window: tokens that fit, 0 for any number.
  """

  prompt: int
  new: int
  window: int

  @property
  def used(self) -> int:
    """Prompt and new tokens."""
    return self.prompt + self.new

  @property
  def left(self) -> int | None:
    """Tokens of the window that neither uses."""
    return self.window - self.used if self.window else None


def fit_prompts(prompts: list[np.ndarray], new: int, window: int, policy: str) -> list[np.ndarray]:
  """Returns the prompts as the policy lets them in.

  Raises:
    UserError: for prompts that do not fit where the policy is to refuse them, and for an unknown policy.
  """
  if policy not in POLICIES:
    raise UserError(f"window {policy!r} is not known; choose one of {', '.join(POLICIES)}")
  counts = [WindowUse(len(ids), new, window) for ids in prompts]
  if not window or policy == "slide":
    return prompts
  if policy == "truncate" and new >= window:
    raise UserError(
      f"{new} new tokens leave no room for a prompt in the context window of {window}; ask for at most {window - 1}"
    )
  if policy == "truncate":
    return [ids[-(window - new) :] for ids in prompts]
  for row, count in enumerate(counts):
    if count.used > window:
      raise UserError(
        f"prompt {row} has {count.prompt} tokens, and with {new} new ones needs {count.used} of the context window's"
        f" {window}; shorten it, ask for fewer tokens, or choose window truncate or slide"
      )
  return prompts


def fit_sources(sources: list[np.ndarray], window: int, policy: str) -> list[np.ndarray]:
  """Returns an encoder's sources, cut at their left where the policy is not to refuse them.

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
  """Returns what is left of a text after the window has slid: all of it while one more token fits."""
  return text if len(text) < window else text[-max(1, window // 2) :]
