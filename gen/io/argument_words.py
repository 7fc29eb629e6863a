"""Errors of functions in Python name arguments, where those of programs name flags of a command line."""

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gen.errors import UserError

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

_REWRITES = (
  (re.compile(r"--(\w+)_column=([^\s,;)]+)"), r"columns={'\1': '\2'}"),
  (re.compile(r"--(\w+)_column\b"), r"columns={'\1': ...}"),
  (re.compile(r"--model=list"), "`uv run experiments/plan.py --\0model=list`"),
  (re.compile(r"(?<![\w-])--(?:config\.)?(?=[a-z])"), ""),
)


def name_arguments(sentence: str) -> str:
  """Returns a sentence in which flags are written as arguments of the same names.

  >>> name_arguments("a plan needs --budget or --params; --cluster=run")
  'a plan needs budget or params; cluster=run'
  >>> name_arguments("the nearest is 'n' (--params_column=n reads it)")
  "the nearest is 'n' (columns={'params': 'n'} reads it)"
  """
  for pattern, text in _REWRITES:
    sentence = pattern.sub(text, sentence)
  return sentence.replace("\0", "")


def names_arguments(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
  """Returns a function whose errors speak of arguments instead of flags."""

  @functools.wraps(function)
  def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
    try:
      return function(*args, **kwargs)
    except UserError as error:
      error.args = (name_arguments(str(error)),)
      raise

  return call
