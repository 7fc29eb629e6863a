import subprocess
import sys

import pytest

from gen.data.sources.python_packages import package_client
from gen.errors import UserError

TEXT = {"poems/one.txt": "a line of text\n" * 20}


def test_a_wheel_is_saved_as_it_is_and_nothing_of_it_runs(index, tmp_path):
  ran = tmp_path / "ran"
  code = f"open({str(ran)!r}, 'w').close()\n"
  file, sha256 = index.add("poems", "1.0", TEXT | {"poems/__init__.py": code, "setup.py": code})
  (tmp_path / "out").mkdir()
  wheel = package_client.download_wheel("poems", "1.0", tmp_path / "out", sha256)
  assert wheel.name == file and [each.name for each in wheel.parent.iterdir()] == [file]
  assert wheel.read_bytes() == (index.folder / "simple" / "poems" / file).read_bytes()
  assert not ran.exists() and "poems" not in sys.modules


def test_the_hash_chooses_between_wheels_of_one_version(index, tmp_path):
  pure, sha256 = index.add("poems", "1.0", TEXT)
  tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
  index.add("poems", "1.0", TEXT | {"poems/fast.txt": "more"}, f"{tag}-{tag}-manylinux_2_17_x86_64")
  assert package_client.download_wheel("poems", "1.0", tmp_path, sha256, pure).name == pure


def test_a_wheel_of_another_platform_is_saved_too(index, tmp_path):
  file, sha256 = index.add("poems", "1.0", TEXT, "cp39-cp39-win_amd64")
  assert package_client.download_wheel("poems", "1.0", tmp_path, sha256, file).name == file


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    (lambda index: None, "the index has no wheel of this version"),
    (lambda index: index.stop(), "no package index can be reached"),
    (lambda index: setattr(index, "password", "secret"), "the index refuses access"),
    (lambda index: index.add("poems", "1.0", TEXT), "another archive than the manifest lists"),
  ],
)
def test_what_a_client_cannot_fetch_is_one_sentence(index, tmp_path, change, sentence):
  change(index)
  with pytest.raises(UserError, match=sentence) as raised:
    package_client.download_wheel("poems", "1.0", tmp_path, "0" * 64)
  assert "poems==1.0" in str(raised.value) and "\n" not in str(raised.value)


def test_a_client_that_may_use_no_index_finds_a_wheel_in_a_folder(index, tmp_path, monkeypatch):
  file, sha256 = index.add("poems", "1.0", TEXT)
  (tmp_path / "out").mkdir()
  monkeypatch.setenv("UV_OFFLINE", "1")
  with pytest.raises(
    UserError, match="allow no index, and the archive is neither in the cache nor in a folder"
  ):
    package_client.download_wheel("poems", "1.0", tmp_path / "out", sha256)
  monkeypatch.setenv("PIP_FIND_LINKS", str(index.folder / "simple" / "poems"))
  assert package_client.download_wheel("poems", "1.0", tmp_path / "out", sha256).name == file
  assert not index.requests


def test_a_user_and_password_in_netrc_open_an_index(index, tmp_path, monkeypatch):
  file, sha256 = index.add("poems", "1.0", TEXT)
  index.password = "secret"
  (tmp_path / ".netrc").write_text("machine 127.0.0.1 login reader password secret\n")
  (tmp_path / ".netrc").chmod(0o600)
  (tmp_path / "out").mkdir()
  assert package_client.download_wheel("poems", "1.0", tmp_path / "out", sha256).name == file


def test_an_index_of_a_uv_project_serves_where_pip_has_none(index, tmp_path, monkeypatch):
  file, sha256 = index.add("poems", "1.0", TEXT)
  monkeypatch.delenv("PIP_INDEX_URL")
  (tmp_path / "pyproject.toml").write_text(f'[[tool.uv.index]]\nurl = "{index.url}"\ndefault = true\n')
  (tmp_path / "out").mkdir()
  assert package_client.download_wheel("poems", "1.0", tmp_path / "out", sha256).name == file


@pytest.mark.parametrize(
  ("variables", "settings", "expected"),
  [
    ({}, {}, {}),
    (
      {"UV_DEFAULT_INDEX": "https://a/simple"},
      {"index-url": "https://b"},
      {"PIP_INDEX_URL": "https://a/simple"},
    ),
    (
      {"UV_DEFAULT_INDEX": "own=https://a/s", "UV_INDEX_OWN_USERNAME": "u", "UV_INDEX_OWN_PASSWORD": "p@"},
      {},
      {"PIP_INDEX_URL": "https://u:p%40@a/s"},
    ),
    (
      {"UV_INDEX": "https://a x=https://b"},
      {"index": [{"url": "https://c", "name": "c"}, {"url": "https://d", "explicit": True}]},
      {"PIP_EXTRA_INDEX_URL": "https://a https://b https://c"},
    ),
    ({"UV_OFFLINE": "1"}, {"find-links": ["/wheels"]}, {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}),
  ],
)
def test_settings_of_uv_become_pips(variables, settings, expected):
  assert package_client._pip_variables(variables, settings) == expected


def test_a_variable_of_pips_overrides_uvs(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  variables = {
    "PIP_INDEX_URL": "https://mine",
    "UV_DEFAULT_INDEX": "https://other",
    "XDG_CONFIG_HOME": str(tmp_path),
  }
  assert package_client._environment(variables)["PIP_INDEX_URL"] == "https://mine"


def test_the_pip_that_python_bundles_serves_where_no_client_is(monkeypatch):
  find = package_client.importlib.util.find_spec
  monkeypatch.setattr(
    package_client.importlib.util, "find_spec", lambda name: find(name) if name != "pip" else None
  )
  monkeypatch.setattr(package_client.shutil, "which", lambda name: None)
  monkeypatch.delenv("UV", raising=False)
  words = package_client._client()
  assert subprocess.run([*words, "--version"], capture_output=True, check=True).stdout.startswith(b"pip ")


def test_a_machine_without_any_client_is_told_to_install_one(monkeypatch):
  monkeypatch.setattr(package_client.importlib.util, "find_spec", lambda name: None)
  monkeypatch.setattr(package_client.shutil, "which", lambda name: None)
  monkeypatch.delenv("UV", raising=False)
  with pytest.raises(UserError, match="pip install uv"):
    package_client._client()
