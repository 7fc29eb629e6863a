"""Lists of the published laws and models: printed, and returned as plain values."""

from gen import presets
from gen.scaling.planning import published, published_models
from gen.scaling.runs.quantity_text import format_count


def print_laws() -> dict[str, dict[str, str | float]]:
  """Prints the published laws, and returns the exponent, convention and source of each."""
  for name, known in published.LAWS.items():
    default = ", the default" if name == published.DEFAULT else ""
    print(f"{name:24} N* ~ C^{known.law.a:.3f}  N counts {known.counting:14} {known.source}{default}")
  return {
    name: {"a": known.law.a, "counting": known.counting, "source": known.source}
    for name, known in published.LAWS.items()
  }


def print_models() -> dict[str, object]:
  """Prints the published models and the presets, and returns them."""
  models = published_models.MODELS.values()
  for model in models:
    tokens = "not published" if model.tokens is None else format_count(model.tokens)
    doubt = f" ({model.unconfirmed} not confirmed)" if model.unconfirmed else ""
    print(f"{model.name:20} N {format_count(model.params):>8}  D {tokens:>13}  {model.source}{doubt}")
  names = presets.preset_names()
  print(f"presets, without tokens: {', '.join(names)}")
  return {
    "models": {
      model.name: {
        "N": model.params,
        "D": model.tokens,
        "source": model.source,
        "unconfirmed": model.unconfirmed,
      }
      for model in models
    },
    "presets": list(names),
  }
