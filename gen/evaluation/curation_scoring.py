"""The model behind the stage `perplexity` of a curation."""

from gen.config.curation import Curation
from gen.data.curation import funnel, inputs


def perplexity_model(config: Curation) -> funnel.LanguageModelScorer | None:
  """Returns the model that scores documents, or None if the stage does nothing.

  Raises:
    UserError: for a checkpoint that cannot be read.
  """
  if "perplexity" not in inputs.active_stages(config):
    return None
  from gen.evaluation import harness, text_bits  # with all that a model is

  backend = harness.Backend(config.perplexity.checkpoint)
  return funnel.LanguageModelScorer(
    text_bits.make_scorer(backend), text_bits.model_checksum(backend.restored)
  )
