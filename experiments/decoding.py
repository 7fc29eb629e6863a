"""What do decoding settings change? The next token, repetition and diversity under each setting.

  uv run experiments/decoding.py --checkpoint=runs/decoder
  uv run experiments/decoding.py --checkpoint=runs/decoder --prompt="The function returns" --tokens=96

For decoders, recurrent models and encoder-decoders. Writes decoding.json, next_token.png, decoding.png and their .pdf
into the work folder.
"""

from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import launch, shared_flags, terminal
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.evaluation.decoding import NextToken, SampledTexts

CHECKPOINT = shared_flags.define_checkpoint()
STEP = shared_flags.define_step()
TOKENIZER = shared_flags.define_tokenizer()
PROMPTS = flags.DEFINE_multi_string(
  "prompt",
  ["The function returns", "Parameters", "Returns a new array with", "If the value is"],
  "Text to continue; may be given several times. The next token is shown for the first.",
)
SAMPLES = quantities.DEFINE_integer("samples", 4, "Texts per prompt.", lower_bound=1, upper_bound=1_000_000)
TOKENS = quantities.DEFINE_integer("tokens", 64, "New tokens per text.", lower_bound=1)
SETTINGS = flags.DEFINE_list("settings", [], "Names of settings, as in the table; empty: all.")
TEMPERATURES = quantities.DEFINE_floats(
  "temperatures", [0.2, 0.5, 0.8, 1, 1.3], "Temperatures of the diversity curve.", lower_bound=0
)
COUNT = quantities.DEFINE_integer("count", 12, "Number of next tokens to show.", lower_bound=1)
SEED = shared_flags.define_seed("sampled texts")
WORKDIR = shared_flags.define_workdir("Folder of the results; empty: the checkpoint's, with _decoding.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Loads the model and measures every setting."""
  shared_flags.require_checkpoint(CHECKPOINT.value)
  temperatures = sorted(set(TEMPERATURES.value))
  from gen.evaluation import decoding
  from gen.generation import loaded_model

  restored = loaded_model.load_model(
    CHECKPOINT.value, STEP.value, TOKENIZER.value or None, terminal.print_progress
  )
  if restored.model.family == "encoder":
    raise UserError(f"{restored.where} is an encoder, which cannot continue a prompt; take another family")
  settings = _settings(decoding.SETTINGS)
  names, after = decoding.next_tokens(restored, PROMPTS.value[0], settings, COUNT.value)
  own = decoding.SETTINGS["the model's own"]
  texts = [_sample(restored, name, sampler) for name, sampler in settings.items()]
  curve = []
  for temperature in temperatures:
    sampler = type(own)(temperature=temperature)
    curve.append((temperature, _sample(restored, f"temperature {temperature:g}", sampler)))
  _write(restored.where, names, after, texts, curve)
  return 0


def _settings(settings: dict[str, Any]) -> dict[str, Any]:
  unknown = [name for name in SETTINGS.value if name not in settings]
  if unknown:
    raise UserError(f"--settings: {unknown[0]!r} is unknown; choose from {', '.join(settings)}")
  return {name: settings[name] for name in SETTINGS.value} or settings


def _sample(restored: Any, name: str, sampler: Any) -> "SampledTexts":
  from gen.evaluation import decoding

  sizes = {"samples": SAMPLES.value, "tokens": TOKENS.value, "seed": SEED.value}
  return decoding.sample_texts(restored, PROMPTS.value, name, sampler, **sizes)


def _write(
  where: str,
  names: list[str],
  after: "list[NextToken]",
  texts: "list[SampledTexts]",
  curve: "list[tuple[float, SampledTexts]]",
) -> None:
  from gen import versions
  from gen.evaluation import decoding_figure, decoding_report
  from gen.io import json_report

  workdir = shared_flags.result_folder(WORKDIR.value, f"{CHECKPOINT.value.rstrip('/')}_decoding")
  results = {
    "checkpoint": where, "prompts": PROMPTS.value, "tokens": names, "next": after, "texts": texts,
    "temperatures": [row._asdict() | {"temperature": temperature} for temperature, row in curve],
    "versions": versions.installed_versions(),
  }  # fmt: skip
  decoding_figure.draw_next(workdir, names, after)
  decoding_figure.draw_texts(workdir, texts, curve)
  print(
    "\n".join(decoding_report.report_lines(PROMPTS.value[0], names, after, texts, [row for _, row in curve]))
  )
  print(workdir / "decoding.json, next_token.png, decoding.png")
  json_report.write_results(results, workdir / "decoding.json", json_report.report_target(JSON.value))


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
