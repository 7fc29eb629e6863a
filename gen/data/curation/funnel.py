"""A curation from sources to a folder: passes in order, each resumable, with the same bytes for any workers."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from gen.config import codec
from gen.config.curation import STAGES, Curation
from gen.data.curation import inputs, output, reading, registry
from gen.data.curation.global_stages import scoring
from gen.data.curation.passes import shard_work, shards, tallies
from gen.data.curation.passes.plan import Pass, Store, make_passes
from gen.data.curation.passes.progress import Progress
from gen.data.curation.passes.shard_pool import ShardPool
from gen.data.curation.passes.shard_work import Work
from gen.data.curation.passes.tallies import TallyRecord
from gen.data.curation.result_records import IdentityRecord, ManifestRecord, ReportRecord, SourceRecord
from gen.data.curation.rules import words
from gen.errors import UserError
from gen.io import cores, json_reading, locks

VERSION = 5  # of the rules of all stages and of the work folder; raise it when a result may change
WORK = ".curation"  # folder inside the output until the run is complete
_REMEDY = "run it with the same sources and config, delete the folder, or name another --output"


class Outcome(NamedTuple):
  """The result of a curation.

  Attributes:
    manifest: as written.
    stages: the tally of each stage, in order.
    existed: whether the folder was complete before.
    report: as written to report.json.
  """

  manifest: ManifestRecord
  stages: list[TallyRecord]
  existed: bool
  report: ReportRecord


class LanguageModelScorer(NamedTuple):
  """A language model behind a function, so that curation imports no models.

  Attributes:
    scorer: returns the bits per byte of texts.
    identity: what the model is, such as the checksum of its parameters; part of the result's identity.
  """

  scorer: scoring.Scorer
  identity: str


class Options(NamedTuple):
  """What does not change the result of a curation.

  Attributes:
    workers: processes; 0: one per core.
    silent: whether nothing is printed.
    keep_work: whether the work folder stays.
  """

  workers: int = 0
  silent: bool = False
  keep_work: bool = False


def curate_sources(
  sources: Sequence[str],
  folder: Path,
  config: Curation,
  licence: str = "",
  skip_damaged: bool = False,
  options: Options = Options(),  # noqa: B008  immutable
  count_tokens: Callable[[str], int] = words.count_tokens,
  model: LanguageModelScorer | None = None,
) -> Outcome:
  """Runs the stages of a config over sources and writes a corpus.

  Args:
    sources: corpora, as `data.corpus` names them, or raw e-mail and HTML.
    folder: of the result; a run that was stopped there is continued.
    config: stages and parameters.
    licence: of the sources, for the manifest.
    skip_damaged: whether a file that cannot be read is reported and skipped.
    options: that do not change the result.
    count_tokens: of a text; picklable.
    model: of the stage perplexity, which needs one.

  Raises:
    UserError: for anything wrong with the config, the sources or the folder, and for an empty result.
  """
  registry.check_stages(config)
  if "perplexity" in inputs.active_stages(config) and model is None:
    raise UserError("stage perplexity has a checkpoint but no model to score with; pass one as `model`")
  opened = reading.open_sources(sources, config)
  inputs.require_outside(folder, opened)
  inputs.require_separate(opened, config)
  identity = _identity(opened, config, licence, skip_damaged, count_tokens, model)
  with locks.FolderLock(folder / WORK):
    finished = output.read_finished(folder, identity, _REMEDY)
    if finished is not None:
      shutil.rmtree(folder / WORK, ignore_errors=True)
      return Outcome(*finished[:2], True, finished[2])
    _claim_work(folder, identity)
    found = inputs.prepare_inputs(config, folder / WORK)
    stages = registry.build_stages(config, found, model.scorer if model else None)
    work = Work(folder / WORK, make_passes(stages), count_tokens)
    reader = reading.Reader(opened, config, skip_damaged)
    progress = Progress(options.silent)
    with ShardPool(options.workers or cores.available_cores(), shard_work.start_worker, work) as pool:
      count = _run_passes(work, pool, reader, progress)
    merged = _merged_tallies(work, count)
    if not merged[-1]["out"][0]:
      _remove_work(folder / WORK)  # an empty result is of no use to a run with other parameters
      raise _nothing_left(merged, reader)
    result = output.write_output(folder, work, count, merged, identity, reader, found)
    if not options.keep_work:
      shutil.rmtree(folder / WORK, ignore_errors=True)
  return Outcome(*result[:2], False, result[2])


def _identity(
  opened: Sequence[reading.RawSource],
  config: Curation,
  licence: str,
  skip_damaged: bool,
  count_tokens: Any,
  model: LanguageModelScorer | None,
) -> IdentityRecord:
  """Returns what the result depends on."""
  sources = [
    SourceRecord(
      name=source.name,
      sha256=hashlib.sha256(json.dumps(reading.fingerprint_source(source)).encode()).hexdigest(),
    )
    for source in opened
  ]
  values = codec.to_dict(config)
  del values["cache"]
  identity: IdentityRecord = {
    "version": VERSION,
    "sources": sources,
    "licence": licence,
    "config": values,
    "own": registry.own_checksums(config),
    "inputs": inputs.fingerprint_inputs(config) | ({"perplexity": model.identity} if model else {}),
    "skip_damaged": skip_damaged,
    "tokens": getattr(count_tokens, "__name__", str(count_tokens)),
  }
  return cast(IdentityRecord, json.loads(json.dumps(identity)))  # as a later run reads it


def _claim_work(folder: Path, identity: IdentityRecord) -> None:
  """Starts or continues the work folder.

  Raises:
    UserError: if it belongs to another curation, or the output holds other files.
  """
  path = folder / WORK / "identity.json"
  if path.exists():
    before = json_reading.read_json(path)
    if before != identity and any((folder / WORK).glob("pass-*/*.done.json")):
      changed = [name for name, value in identity.items() if before.get(name) != value]
      raise UserError(f"{folder} holds an unfinished curation with other {' and '.join(changed)}; {_REMEDY}")
    if before == identity:
      return
    _remove_work(folder / WORK)  # of a run that ended before it wrote any text
  others = [item.name for item in folder.iterdir() if item.name != WORK]
  if others:
    raise UserError(
      f"{folder} already holds {sorted(others)[0]}; name an empty or a new folder with --output"
    )
  shards.write_file(path, json.dumps(identity, indent=1).encode())


def _make_folder(folder: Path) -> None:
  try:
    folder.mkdir(exist_ok=True)
  except OSError as error:
    raise shards.no_space(folder, error) from error


def _remove_work(folder: Path) -> None:
  """Removes all of a work folder but its lock, which this process holds."""
  for path in folder.iterdir():
    if path.is_dir():
      shutil.rmtree(path)
    elif path.name != locks.NAME:
      path.unlink()


def _run_passes(work: Work, pool: ShardPool, reader: reading.Reader, progress: Progress) -> int:
  """Runs all passes; returns the number of shards."""
  count = _finished_reading(work, reader)
  for current in work.passes:
    folder = work.folder(current.number)
    _make_folder(folder)
    title = f"pass {current.number + 1} of {len(work.passes)}"
    progress.start_pass(title)
    if current.number == 0:
      if count is None or not _is_whole(work, count):
        count = _first_pass(work, pool, reader, progress)
    else:
      _later_pass(work, current, pool, progress, count or 0)
    tally = _merged_pass(folder, current, count or 0)
    left = tally[-1]["out"] if tally else None
    progress.end_pass(
      f"{title} ({', '.join(current.stage_names) or 'reading'})"
      + (f": {left[0]:,} documents, {left[1] / 1e6:,.1f} MB left" if left else ": done")
    )
    if current.features_of is not None:
      _decide(work, current, pool, progress, count or 0)
    if current.number:
      _remove_texts(work.folder(current.number - 1), count or 0)
  return count or 0


def _finished_reading(work: Work, reader: reading.Reader) -> int | None:
  """Returns the number of shards if a run before has read all sources, whose faults and notes are then known."""
  try:
    record = json_reading.read_json(work.root / "read.json")
  except UserError:
    return None
  reader.restore(record)
  return int(record["shards"])


def _is_whole(work: Work, count: int) -> bool:
  """Returns whether no shard of the first pass is missing or damaged."""
  if _is_past(work, 0):
    return True
  return all(shards.read_tally(work.folder(0), index, check=True) is not None for index in range(count))


def _first_pass(work: Work, pool: ShardPool, reader: reading.Reader, progress: Progress) -> int:
  """Reads the sources and runs the first pass; returns the number of shards."""
  folder, count, amount = work.folder(0), 0, 0

  def tasks() -> Iterator[tuple[int, int, list[shards.Row]]]:
    nonlocal count
    for index, rows in enumerate(reader.chunks()):
      count = index + 1
      if shards.read_tally(folder, index, check=True) is None:
        yield 0, index, rows

  for _, entered in pool.map_tasks(shard_work.run_task, tasks()):
    amount += entered
    progress.update(reader.done_bytes, reader.total_bytes, amount)
  if not count:
    raise _no_documents(reader)
  record = reader.record()
  record["shards"] = count
  shards.write_file(work.root / "read.json", json.dumps(record).encode())
  return count


def _later_pass(work: Work, current: Pass, pool: ShardPool, progress: Progress, count: int) -> None:
  folder = work.folder(current.number)
  if _is_past(work, current.number):
    return
  missing = [index for index in range(count) if shards.read_tally(folder, index, check=True) is None]
  tasks = ((current.number, index, None) for index in missing)
  amount = 0
  for done, (_, entered) in enumerate(pool.map_tasks(shard_work.run_task, tasks), start=1):
    amount += entered
    progress.update(done, len(missing), amount)


def _is_past(work: Work, number: int) -> bool:
  """Returns whether the texts of a pass were already removed, because the next one is complete."""
  return (work.folder(number) / "removed").exists()


def _decide(work: Work, current: Pass, pool: ShardPool, progress: Progress, count: int) -> None:
  """Makes the decision of the pass's global stage, once."""
  folder = work.folder(current.number)
  if (folder / "decided").exists() or current.features_of is None:
    return

  def map_shards(function: Callable[[Path, int, Any], Any], arguments: Sequence[Any]) -> Iterator[Any]:
    tasks = ((function, folder, index, argument) for index, argument in enumerate(arguments))
    return pool.map_tasks(shard_work.call_on_shard, tasks)

  store = Store(folder, count, map_shards, progress.say)
  progress.start_pass(current.features_of.name)
  shards.write_file(folder / "offsets.npy", shards.encode_array(store.offsets()))
  current.features_of.decide(store)
  shards.write_file(folder / "decided", b"")


def _remove_texts(folder: Path, count: int) -> None:
  """Removes what only the next pass needed."""
  if (folder / "removed").exists():
    return
  shards.write_file(folder / "removed", b"")
  for path in folder.iterdir():
    if not path.name.endswith((".done.json", ".drops.zst")) and path.name not in ("removed", "decided"):
      path.unlink()


def _merged_pass(folder: Path, current: Pass, count: int) -> list[TallyRecord]:
  """Returns the tally of each stage of a pass."""
  found: dict[str, TallyRecord] = {}
  for index in range(count):
    tally = shards.read_tally(folder, index)
    if tally is None:
      raise UserError(f"{folder} has changed while the curation ran; run the same command again")
    for name, counts in tally["stages"].items():
      found[name] = tallies.merge_tallies([found[name], counts] if name in found else [counts])
  return [found[name] for name in current.stage_names]


def _merged_tallies(work: Work, count: int) -> list[TallyRecord]:
  return [
    tally for current in work.passes for tally in _merged_pass(work.folder(current.number), current, count)
  ]


def _no_documents(reader: reading.Reader) -> UserError:
  fault = f": {reader.faults[0].error}" if reader.faults else ""
  return UserError(f"the sources hold no documents with text{fault}; name others with --source")


def _nothing_left(stages: Sequence[TallyRecord], reader: reading.Reader) -> UserError:
  """Returns the error of an empty result; it names the stage that dropped the most, and its main reason."""
  worst = max(stages, key=lambda tally: tally["in"][0] - tally["out"][0])
  if not stages[0]["in"][0]:
    return _no_documents(reader)
  reason, dropped = max(worst["reasons"].items(), key=lambda item: item[1][0])
  last = next(tally for tally in stages if not tally["out"][0])
  ended = "" if last is worst else f", and {last['name']} dropped the last {last['in'][0]:,}"
  name = worst["name"]
  advice = f"relax its parameters, or leave it out with --config.without={name}"
  return UserError(
    f"nothing is left: stage {name} dropped {worst['in'][0] - worst['out'][0]:,} of {stages[0]['in'][0]:,} documents,"
    f" {dropped[0]:,} of them for {reason}{ended}; {advice if name in STAGES else 'change the function'}"
  )
