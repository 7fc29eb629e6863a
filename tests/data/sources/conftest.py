"""A package index on this machine, and wheels for it."""

import ensurepip
import functools
import hashlib
import http.server
import sys
import threading
import zipfile
from base64 import b64encode
from pathlib import Path

import pytest

from gen.data.sources.python_packages import package_client


class FakeIndex:
  """A package index that serves a folder, as PEP 503 says, on a port of this machine.

  Attributes:
    url: of the simple index.
    requests: paths that clients requested.
    password: if set, requests need the user `reader` with this password.
  """

  def __init__(self, folder):
    self.folder = folder
    self.requests = []
    self.password = ""
    index = self

    class Handler(http.server.SimpleHTTPRequestHandler):
      def do_GET(self):
        index.requests.append(self.path)
        expected = "Basic " + b64encode(f"reader:{index.password}".encode()).decode()
        if index.password and self.headers.get("Authorization") != expected:
          self.send_response(401)
          self.send_header("WWW-Authenticate", "Basic realm=x")
          self.end_headers()
        else:
          super().do_GET()

      def log_message(self, *words):
        """Prints nothing."""

    self._server = http.server.ThreadingHTTPServer(
      ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    self.url = f"http://127.0.0.1:{self._server.server_address[1]}/simple"
    threading.Thread(target=self._server.serve_forever, daemon=True).start()

  def add(self, name, version, members, tags="py3-none-any"):
    """Publishes a wheel of {member: content}; returns its file name and SHA-256."""
    stem = f"{name.replace('-', '_')}-{version}"
    folder = self.folder / "simple" / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tags}.whl"
    write_wheel(path, stem, f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", members)
    links = [
      f'<a href="{file.name}#sha256={hash_file(file)}">{file.name}</a>'
      for file in sorted(folder.glob("*.whl"))
    ]
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>")
    return path.name, hash_file(path)

  def stop(self):
    """Refuses connections from now on."""
    self._server.shutdown()
    self._server.server_close()


def hash_file(path):
  return hashlib.sha256(path.read_bytes()).hexdigest()


def write_wheel(path, stem, metadata, members):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, content in members.items():
      archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    archive.writestr(f"{stem}.dist-info/METADATA", metadata)
    archive.writestr(
      f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    archive.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.fixture(scope="session")
def pip(tmp_path_factory):
  """Words that start the pip which Python bundles; unpacked, so that its bytecode is kept."""
  bundled = list((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
  if not bundled:
    pytest.skip("this Python bundles no pip")
  folder = tmp_path_factory.mktemp("pip")
  zipfile.ZipFile(bundled[0]).extractall(folder)
  return [sys.executable, str(folder / "pip")]


@pytest.fixture
def index(tmp_path, monkeypatch, pip):
  """An index that is the only one which package clients of this test see."""
  monkeypatch.setattr(package_client, "_client", lambda: pip)
  for name in ("UV", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
               "UV_OFFLINE", "UV_NO_INDEX", "UV_CONFIG_FILE", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL",
               "PIP_NO_INDEX"):  # fmt: skip
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
  monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
  monkeypatch.setenv("PIP_RETRIES", "0")
  monkeypatch.chdir(tmp_path)
  made = FakeIndex(tmp_path / "index")
  monkeypatch.setenv("PIP_INDEX_URL", made.url)
  yield made
  made.stop()
