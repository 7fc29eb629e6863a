"""`uv build` gives a wheel that installs in an empty environment and imports from there."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.release
@pytest.mark.slow
def test_the_wheel_installs_in_an_empty_environment_and_imports(tmp_path):
  uv = shutil.which("uv")
  if uv is None:
    pytest.skip("uv is not on the path; the wheel is built with it")

  def run(*words: str) -> str:
    environment = {
      name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")
    }
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout

  run(uv, "build", "--wheel", "--out-dir", str(tmp_path / "dist"), str(ROOT))
  (wheel,) = (tmp_path / "dist").glob("*.whl")
  names = zipfile.ZipFile(wheel).namelist()
  assert "gen/py.typed" in names
  assert "gen/scaling/report/report.html.jinja" in names
  assert {"gen/data/manifests/manual.toml", "gen/data/manifests/law.toml"} <= set(names)
  assert wheel.name.startswith("gen_scaling-"), "gen is another project on the package index"
  assert not [name for name in names if name.startswith(("tests/", "experiments/", "configs/"))]
  run(uv, "venv", str(tmp_path / "empty"))
  python = str(tmp_path / "empty" / "bin" / "python")
  constraints = tmp_path / "constraints.txt"
  constraints.write_text("\n".join(pins()))
  run(uv, "pip", "install", "--python", python, "--constraint", str(constraints), str(wheel))
  code = (
    "import gen, gen.models.language_model, gen.training.loop, gen.scaling.sweeps.design; print(gen.__file__)"
  )
  assert str(tmp_path) in run(python, "-c", code)
  code = "from gen import counts, presets; print(counts.count_parameters(presets.get_model('gpt2')).total)"
  assert run(python, "-c", code).strip() == "124439808"
  code = "from gen.data.sources.python_packages import packages; print(len(packages.find_manifest('manual:large')[1]))"
  assert int(run(python, "-c", code)) > 10
  code = "from gen.versions import installed_versions; print(installed_versions()['gen'])"
  assert run(python, "-c", code).strip() == wheel.name.split("-")[1]
  # A program of the checkout runs with the installed package.
  assert "--config.data.corpus" in run(python, str(ROOT / "experiments" / "pretrain.py"), "--help")


def pins() -> list[str]:
  import tomllib

  return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
