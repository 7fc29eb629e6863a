"""Checksums of what a run is made of beside its config: the user's own code, and the checkpoint that it starts from."""

import dataclasses
import operator

from gen.config.run import Run
from gen.io import user_code

# Fields that may name an object of the user's own code.
FIELDS = ("optimizer.name",)
START = "start_from="  # begins the entry of the checkpoint


def with_sources(run: Run) -> Run:
  """Returns the run with the checksum of the source of each object of the user's own that it names.

  The entry of the checkpoint that it starts from stays as it is; see `gen.training.start_source`.

  Raises:
    UserError: for a reference that cannot be imported.
  """
  values = {field: str(operator.attrgetter(field)(run)) for field in FIELDS}
  references = {field: value for field, value in values.items() if user_code.is_reference(value)}
  sources = tuple(
    f"{field}={user_code.source_checksum(value, field)[:16]}" for field, value in references.items()
  )
  sources += tuple(entry for entry in run.sources if run.start_from and entry.startswith(START))
  return run if sources == run.sources else dataclasses.replace(run, sources=sources)
