"""The training batches of a run: of one corpus or of a mixture, limited to so many unique tokens."""

from gen.config import Data
from gen.data.batches import Batches
from gen.data.dataset import Dataset
from gen.data.mixture_batches import MixtureBatches
from gen.data.objectives import Objective
from gen.data.token_stream import TokenStream, limit_stream
from gen.errors import UserError


def training_streams(loaded: Dataset, data: Data) -> dict[str, TokenStream]:
  """Returns the training text of each corpus, limited to `data.unique_tokens` in all, of each the same fraction.

  Raises:
    UserError: if there are fewer tokens than that.
  """
  streams = {name: part.train for name, part in loaded.tokens.items()}
  if not data.unique_tokens:
    return streams
  read = set(_read_names(data)) or set(streams)
  total = sum(len(stream.ids) for name, stream in streams.items() if name in read)
  if data.unique_tokens > total:
    raise UserError(
      f"data.unique_tokens is {data.unique_tokens:,}, but the training text has only {total:,} tokens; set it to at"
      " most that, or to 0 for all"
    )
  return {
    name: limit_stream(stream, len(stream.ids) * data.unique_tokens // total)
    for name, stream in streams.items()
  }


def _read_names(data: Data) -> list[str]:
  """Returns the corpora of a mixture that a run reads; the others are only evaluated."""
  return [
    corpus.name
    for index, corpus in enumerate(data.mixture)
    if corpus.weight != 0 or any(row[index + 1] for row in data.mixture_schedule)
  ]


def make_batches(
  loaded: Dataset, data: Data, seed: int, steps: int, objective: Objective
) -> Batches | MixtureBatches:
  """Returns the batches of a run.

  Args:
    loaded: tokens of its text.
    data: length, batch, mixture and limits.
    seed: of the orders and of the objective's random numbers.
    steps: of the run.
    objective: makes batches of windows.

  Raises:
    UserError: if the text is too short for the rows, or cannot fill the run.
  """
  streams = training_streams(loaded, data)
  if data.mixture:
    return MixtureBatches(streams, data, seed, steps, objective)
  (stream,) = streams.values()
  return Batches(stream, data, seed, objective)
