"""Flags of a quantization scheme: formats of kernels, activations, embeddings, head, norms and the KV cache."""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
  from gen.quantization.model_scheme import ModelScheme

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.

TABLE_FORMATS = ("int8", "int4", "nf4", "float32")  # of embeddings, and of an output kernel


def define_flags() -> None:
  """Defines the flags of the scheme."""
  flags.DEFINE_enum("weights", "int8", ("int8", "int4", "nf4"), "Format of the kernels of layers.")
  flags.DEFINE_enum("activations", "none", ("none", "int8"), "Format of activations in products.")
  flags.DEFINE_string("scheme", "", "Words of the scheme, as above; empty: absmax, round, dynamic.")
  flags.DEFINE_enum("embeddings", "int8", TABLE_FORMATS, "Format of embeddings.")
  flags.DEFINE_enum("head", "int8", TABLE_FORMATS, "Format of an output kernel that is not the embeddings'.")
  flags.DEFINE_enum("norms", "float32", ("float32", "bfloat16"), "Format of norms and biases.")
  flags.DEFINE_enum("cache", "float", ("float", "int8"), "Format of keys and values while text is generated.")


def scheme_from_flags() -> "ModelScheme":
  """Returns the scheme of the command line.

  Raises:
    UserError: for words that are unknown or do not go together.
  """
  from gen.quantization import model_scheme

  values = flags.FLAGS
  return model_scheme.parse_scheme(
    values.weights, values.activations, values.scheme,
    embeddings=values.embeddings, head=values.head, vectors=values.norms, cache=values.cache,
  )  # fmt: skip
