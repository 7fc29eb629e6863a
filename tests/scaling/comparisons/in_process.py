"""A trainer in this process, so that a study of tiny runs costs no worker processes."""

from gen.data import dataset
from gen.io import typed_json
from gen.scaling.workers import executors, pool
from gen.training import hooks, trunks


class InProcess(executors.RunExecutor):
  """Trains runs one after the other in this process."""

  def trainer(self, workers, runs, logs, command):
    return _Trainer()


class _Trainer:
  workers = 1
  worker_seconds = 0.0

  def stop(self):
    """Does nothing: the runs are tiny."""

  kill = stop

  def train(self, runs, folder):
    for run in runs:
      yield pool.WorkerEvent("started", 0, run)
      loaded = dataset.load_dataset(run.data)
      result = trunks.train_branch(run, folder / run.name, loaded, hooks.NoHooks())
      yield pool.WorkerEvent("finished", 0, run, row=typed_json.encode_record(result))
