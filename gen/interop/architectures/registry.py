"""The supported architectures of the Hugging Face format."""

from collections.abc import Mapping

from gen.errors import UserError
from gen.interop.architectures.architecture import Architecture
from gen.interop.architectures.bart import BART
from gen.interop.architectures.bert import BERT, ROBERTA, XLM_ROBERTA
from gen.interop.architectures.bloom import BLOOM
from gen.interop.architectures.gpt2 import GPT2
from gen.interop.architectures.gpt_neox import GPT_NEOX
from gen.interop.architectures.llama import APERTUS, GEMMA, LLAMA, MISTRAL, OLMO2, QWEN2, QWEN3, STARCODER2
from gen.interop.architectures.modernbert import MODERNBERT
from gen.interop.architectures.t5 import T5

_LLAMA_LIKE = (LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA, OLMO2, STARCODER2, APERTUS)
ARCHITECTURES = {
  each.name: each
  for each in (BERT, ROBERTA, XLM_ROBERTA, MODERNBERT, GPT2, BLOOM, T5, BART, *_LLAMA_LIKE, GPT_NEOX)
}
_LOCAL = "its layers alternate between local and full attention"
REFUSED = {  # related model types, and why they are not supported
  "gemma2": f"{_LOCAL}, and its attention scores have a soft cap",
  "gemma3": f"{_LOCAL}, each with rotary positions of its own",
  "gemma3_text": f"{_LOCAL}, each with rotary positions of its own",
  "olmo": "its norms have no parameters",
  "olmo3": _LOCAL,
  "mixtral": "it is a mixture of experts",
  "qwen2_moe": "it is a mixture of experts",
  "qwen3_moe": "it is a mixture of experts",
}


def find_architecture(hf: Mapping[str, object]) -> Architecture:
  """Returns the architecture that a config.json names.

  Raises:
    UserError: if it is not supported.
  """
  name = hf.get("model_type")
  if isinstance(name, str) and name in REFUSED:
    raise UserError(f"config.json: model_type {name!r} is not supported, because {REFUSED[name]}")
  if not isinstance(name, str) or name not in ARCHITECTURES:
    excerpt = repr(name) if isinstance(name, str) and len(name) <= 60 else "of this value"
    raise UserError(
      f"config.json: model_type {excerpt} is not supported; supported are {', '.join(ARCHITECTURES)}"
    )
  return ARCHITECTURES[name]


def class_name(architecture: Architecture, hf: Mapping[str, object]) -> str:
  """Returns the class that a config.json names, or an empty string.

  Raises:
    UserError: for a class whose head is not supported.
  """
  named = hf.get("architectures") or [""]
  name = named[0] if isinstance(named, list) else named
  if not isinstance(name, str):
    raise UserError("config.json: architectures must be a list of names of classes")
  known = (*architecture.classes, *architecture.tasks)
  if name and name not in known:
    raise UserError(
      f"config.json: the class {name[:60]} of {architecture.name} is not supported; supported are "
      f"{', '.join(known)}"
    )
  return str(name)
