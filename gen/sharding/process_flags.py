"""Flags of an experiment that may be one of several processes of a run."""

from absl import flags

from gen.io import quantities
from gen.sharding import processes
from gen.sharding.rendezvous import ProcessPlace

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.

# Far beyond any run; it catches a number with digits too many.
MILLION = 1_000_000


def define_flags() -> None:
  """Defines `--coordinator`, `--processes`, `--process` and `--wait_seconds`."""
  flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0, in a run of several processes.")
  quantities.DEFINE_integer("processes", 0, "Processes of the run; 0: from the launcher, or 1.", 0, MILLION)
  quantities.DEFINE_integer(
    "process", -1, "Index of this process, from 0; -1: from the launcher.", -1, MILLION
  )
  quantities.DEFINE_float(
    "wait_seconds",
    processes.WAIT_SECONDS,
    "Seconds that processes wait for each other at the start.",
    lower_bound=0,
    upper_bound=MILLION,
  )


def place_from_flags() -> ProcessPlace | None:
  """Returns the place of this process by the command line and the launcher; None for a single process.

  Raises:
    UserError: if only a part of the place is set, or it is invalid.
  """
  return processes.find_place(flags.FLAGS.coordinator, flags.FLAGS.processes, flags.FLAGS.process)
