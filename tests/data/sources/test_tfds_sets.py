import contextlib
import io
import os
import subprocess
import sys

import numpy as np
import pytest

from gen.config import Data
from gen.data import corpus
from gen.data.sources.tfds_sets import NamedSet
from gen.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets")


class SmallTales(tfds.core.GeneratorBasedBuilder):
  """Forty tales and three for testing."""

  VERSION = tfds.core.Version("1.0.0")
  code_path = tfds.core.Path(__file__)  # TFDS would look for it with a package that it does not declare

  def _info(self):
    features = {"tale": tfds.features.Text(), "number": tfds.features.Scalar(np.int64)}
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

  def _split_generators(self, manager):
    del manager
    return {"train": self._generate_examples(40), "test": self._generate_examples(3)}

  def _generate_examples(self, count):
    for number in range(count):
      yield number, {"tale": f"Tale {number} of the ünïcode fox.", "number": number}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tfds")
  with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
    SmallTales(data_dir=folder, file_format="array_record").download_and_prepare()
  return folder


@pytest.fixture
def tales(prepared, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
  return prepared


def test_a_prepared_set_is_a_corpus(tales, tmp_path):
  found = corpus.build_corpus(
    Data(corpus="tfds:small_tales", field="tale", cache=str(tmp_path), validation_fraction=0.3)
  )
  assert sorted([*found.train, *found.validation]) == sorted(
    f"Tale {i} of the ünïcode fox." for i in range(40)
  )
  assert found.train and found.validation


def test_splits_and_their_parts_are_read(tales):
  assert len(list(NamedSet("small_tales", "test").documents("tale"))) == 3
  assert len(list(NamedSet("small_tales", "train[:10%]").documents("tale"))) == 4
  assert NamedSet("small_tales", "test").fingerprint() != NamedSet("small_tales", "train").fingerprint()


def test_tensorflow_is_not_needed(tales):
  code = (
    "import sys; from gen.data.sources.tfds_sets import NamedSet\n"
    "print(next(NamedSet('small_tales', 'test').documents('tale')).text)\n"
    "sys.exit('tensorflow' in sys.modules)"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=dict(os.environ))
  assert done.stdout.decode().startswith("Tale ")


@pytest.mark.parametrize("name", ["wiki40b/en", "lm1b", "c4/en"])
def test_sets_that_everyone_knows_are_found_by_name(name, tmp_path):
  with tfds.testing.mock_data(num_examples=50):
    opened = NamedSet(name, "train")
    found = corpus.build_corpus(Data(corpus=f"tfds:{name}", cache=str(tmp_path)))
  assert opened.fingerprint()[0].startswith(name)
  assert found.documents > 10
  assert found.train and found.validation


@pytest.mark.parametrize(
  ("name", "split", "field", "says"),
  [
    ("no_such_set", "train", "text", "TFDS has no such set"),
    ("wiki40bb/en", "train", "text", r"did you mean wiki40b\?"),
    ("wiki40b/enn", "train", "text", "BuilderConfig enn not found"),
    ("lm1b:9.9.9", "train", "text", "only: 1.1.0"),
    ("", "train", "text", "cannot be opened"),
    ("lm1b", "train", "text", r"lm1b: not prepared in .*download_and_prepare\(\)"),
    ("small_tales", "valid", "tale", r"cannot read split 'valid' \(it has train, test\)"),
    ("small_tales", "train", "tales", r"small_tales/train:0: no field 'tales'; the nearest is .*field=tale"),
    ("small_tales", "train", "number", "is a whole number, not text"),
  ],
)
def test_what_cannot_be_read_is_the_users_to_mend(tales, name, split, field, says):
  with pytest.raises(UserError, match=says) as refused:
    next(NamedSet(name, split).documents(field))
  assert "\n" not in str(refused.value)
