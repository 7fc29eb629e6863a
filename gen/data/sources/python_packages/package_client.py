"""Fetches wheels with the user's own package client: pip where it is installed, else the pip that `uv` runs.

The client brings its settings: index, credentials, proxies, certificates. `uv` has no command that saves an archive,
so `uv tool run pip download` does it, and uv's settings of indexes become pip's. Without either, the pip that Python
bundles for new environments serves. Nothing is installed or imported, and source archives are never requested,
because a client runs their code to read their metadata.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

from gen.errors import UserError

_UNREACHABLE = re.compile(
  r"connection broken|ConnectionError|NewConnectionError|name resolution|Name or service not known|"
  r"Network is unreachable|Connection refused|timed out|dns error|tcp connect error|error sending request|"
  r"Failed to fetch|ProxyError|(?:network|connectivity) (?:was|is) disabled",
  re.I,
)
_OTHER_BYTES = re.compile(r"DO NOT MATCH THE HASHES|Hash mismatch|hashes.*do not match", re.I)
_DENIED = re.compile(r"\b(401|403) (Client )?(Error|Unauthorized|Forbidden)|Unauthorized|Forbidden", re.I)
_ABSENT = re.compile(r"No matching distribution|Could not find a version|404 Client Error", re.I)


def download_wheel(name: str, version: str, folder: Path, sha256: str = "", file: str = "") -> Path:
  """Downloads one wheel into an empty folder.

  Args:
    name: of the package.
    version: exact.
    folder: receives the wheel and nothing else.
    sha256: of the wheel; the client refuses any other. Empty accepts what the index holds.
    file: name of the wheel, which may be of another platform; empty takes the client's choice.

  Raises:
    UserError: if there is no client, no index answers, or the index has no such wheel or another one.
  """
  flags = ("--only-binary=:all:", *_platform_flags(file))
  return download_archive(name, version, folder, flags, "*.whl", sha256)


def download_archive(
  name: str,
  version: str,
  folder: Path,
  flags: Sequence[str],
  pattern: str,
  sha256: str = "",
  variables: Mapping[str, str] | None = None,
) -> Path:
  """Downloads one archive into a folder.

  Args:
    name: of the package.
    version: exact.
    folder: receives the archive.
    flags: of the client, which choose the kind of archive.
    pattern: of the archive's name.
    sha256: of the archive; the client refuses any other. Empty accepts what the index holds.
    variables: of the client's environment, besides the user's.

  Raises:
    UserError: if there is no client, no index answers, or the index has no such archive or another one.
  """
  wanted = f"{name}=={version}"
  requirements = folder / "requirements.txt"
  requirements.write_text(wanted + (f" --hash=sha256:{sha256}" if sha256 else "") + "\n")
  command = [
    *_client(),
    # pip reports unreachable indexes and refused access only at its second level of detail.
    *("download", "-vv", "--no-deps", "--ignore-requires-python", "--no-input"),
    *(
      "--disable-pip-version-check",
      "--progress-bar=off",
      f"--dest={folder}",
      f"--requirement={requirements}",
    ),
    *flags,
  ]
  environment = _environment(os.environ) | dict(variables or {})
  try:
    done = subprocess.run(
      command, capture_output=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )
  except OSError as error:
    raise UserError(f"package {wanted}: {command[0]} cannot be started: {error.strerror}") from error
  requirements.unlink()
  archives = list(folder.glob(pattern))
  if done.returncode or len(archives) != 1:
    output = (done.stderr + b"\n" + done.stdout).decode(errors="replace")
    raise UserError(_reason(wanted, output, "PIP_NO_INDEX" in environment))
  return archives[0]


def _client() -> list[str]:
  """Returns the words that start pip.

  Raises:
    UserError: if there is none.
  """
  if importlib.util.find_spec("pip"):
    return [sys.executable, "-m", "pip"]
  uv = os.environ.get("UV") or shutil.which("uv")
  if uv:
    return [uv, "tool", "run", "--python", sys.executable, "pip"]
  bundled = importlib.util.find_spec("ensurepip")
  if bundled and bundled.origin:
    for wheel in Path(bundled.origin).parent.glob("_bundled/pip-*.whl"):
      return [sys.executable, f"{wheel}/pip"]  # Python runs a package within a zip file
  raise UserError("packages are fetched by pip or uv, and neither is there; run: pip install uv")


def _platform_flags(file: str) -> list[str]:
  """Returns the flags that request a wheel of another platform or Python than this one's."""
  if not file:
    return []
  python, abi, platform = file.removesuffix(".whl").split("-")[-3:]
  flags = [f"--platform={tag}" for tag in platform.split(".")] + [f"--abi={tag}" for tag in abi.split(".")]
  implementation, version = re.fullmatch(r"([a-z]+)([\d_]*)", python.split(".")[0]).groups()  # type: ignore[union-attr]
  if len(version) > 1:  # of one minor version, such as cp311
    flags.append(f"--python-version={version[0]}.{version[1:]}")
  return [*flags, f"--implementation={implementation}"]


def _reason(wanted: str, output: str, offline: bool) -> str:
  """Returns one sentence for what a client printed; pip hides passwords itself."""
  if _OTHER_BYTES.search(output):
    return f"package {wanted}: the index holds another archive than the manifest lists; its SHA-256 differs"
  if _DENIED.search(output):
    return f"package {wanted}: the index refuses access; check the credentials of pip or uv"
  if offline:
    return (
      f"package {wanted}: the settings of pip or uv allow no index, and the archive is neither in the cache nor in"
      " a folder that PIP_FIND_LINKS names"
    )
  if _UNREACHABLE.search(output):
    return (
      f"package {wanted}: no package index can be reached, and the archive is not in the cache;"
      " connect, or name another index by PIP_INDEX_URL or UV_DEFAULT_INDEX"
    )
  if _ABSENT.search(output):
    return f"package {wanted}: the index has no wheel of this version; check the name and the version"
  lines = [line.strip() for line in output.splitlines() if line.strip()]
  errors = [line for line in lines if line.lower().startswith("error")]
  return f"package {wanted}: the package client failed: {(errors or lines or ['no output'])[-1][:300]}"


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
  """Returns the client's variables: the user's, with uv's settings of indexes where pip has none of its own."""
  settings = _uv_files(Path.cwd(), variables)
  known = {
    name: value for name, value in _pip_variables(variables, settings).items() if name not in variables
  }
  return dict(variables) | known


def _pip_variables(variables: Mapping[str, str], settings: Mapping[str, object]) -> dict[str, str]:
  """Returns pip's variables that say what uv's variables and files say."""
  tables = [table for table in _list(settings.get("index")) if isinstance(table, dict) and "url" in table]
  default = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL")
  default = default or next((_named(table) for table in tables if table.get("default")), "")
  default = default or str(settings.get("index-url") or "")
  others = [*variables.get("UV_INDEX", "").split(), *variables.get("UV_EXTRA_INDEX_URL", "").split()]
  others += [_named(table) for table in tables if not table.get("default") and not table.get("explicit")]
  others += [str(url) for url in _list(settings.get("extra-index-url"))]
  links = [part for part in variables.get("UV_FIND_LINKS", "").split(",") if part]
  links += [str(part) for part in _list(settings.get("find-links"))]
  offline = any(
    variables.get(name, "").lower() in ("1", "true", "yes") for name in ("UV_OFFLINE", "UV_NO_INDEX")
  )
  made = {
    "PIP_INDEX_URL": _with_credentials(default, variables) if default else "",
    "PIP_EXTRA_INDEX_URL": " ".join(_with_credentials(url, variables) for url in others),
    "PIP_FIND_LINKS": " ".join(links),
    "PIP_TRUSTED_HOST": variables.get("UV_INSECURE_HOST", ""),
    "PIP_NO_INDEX": "1" if offline or settings.get("no-index") or settings.get("offline") else "",
  }
  return {name: value for name, value in made.items() if value}


def _list(value: object) -> list[object]:
  return value if isinstance(value, list) else [] if value is None else [value]


def _named(table: Mapping[str, object]) -> str:
  """Returns an index as uv's variables write it: NAME=URL, or the URL alone."""
  return f"{table['name']}={table['url']}" if table.get("name") else str(table["url"])


def _with_credentials(index: str, variables: Mapping[str, str]) -> str:
  """Returns the URL of NAME=URL with the user and password that uv's variables hold for the name."""
  named = re.match(r"([A-Za-z0-9_.-]+)=(.*)", index)
  if not named:
    return index
  prefix = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", named[1].upper())
  user, password = variables.get(f"{prefix}_USERNAME", ""), variables.get(f"{prefix}_PASSWORD", "")
  parts = urllib.parse.urlsplit(named[2])
  if not (user or password) or "@" in parts.netloc:
    return named[2]
  secret = f"{urllib.parse.quote(user, safe='')}:{urllib.parse.quote(password, safe='')}@"
  return urllib.parse.urlunsplit(parts._replace(netloc=secret + parts.netloc))


def _uv_files(folder: Path, variables: Mapping[str, str]) -> dict[str, object]:
  """Returns uv's settings for a folder: of the nearest project, over the user's, over the machine's."""
  if variables.get("UV_NO_CONFIG"):
    return {}
  if variables.get("UV_CONFIG_FILE"):
    return _settings(Path(variables["UV_CONFIG_FILE"]))
  merged: dict[str, object] = {}
  home = Path(variables.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
  for path in (Path("/etc/uv/uv.toml"), home / "uv" / "uv.toml"):
    merged |= _settings(path)
  for parent in (folder, *folder.parents):
    project = _settings(parent / "uv.toml") or _settings(parent / "pyproject.toml")
    if project:
      return merged | project
  return merged


def _settings(path: Path) -> dict[str, object]:
  """Returns the settings of one file of uv's; empty if it is absent or no valid TOML, which uv itself reports."""
  try:
    content = tomllib.loads(path.read_text("utf-8"))
  except (OSError, ValueError):
    return {}
  if path.name == "pyproject.toml":
    content = content.get("tool", {}).get("uv", {})
  pip = content.get("pip", {})
  return content | (pip if isinstance(pip, dict) else {})
