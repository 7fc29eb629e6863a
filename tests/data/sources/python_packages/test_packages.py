import gzip
import json
import multiprocessing

import pytest

from gen.config import Data
from gen.data import corpus
from gen.data.sources import source as source_module
from gen.data.sources.python_packages import manifests, packages
from gen.errors import UserError

LONG = "A sentence that makes this long enough to count as a document of its own. " * 4
MEMBERS = {
  "poems/spring.py": f'"""{LONG}spring."""\nraise SystemExit("the archive ran")\n',
  "poems/summer.txt": f"{LONG}summer\n",
  "poems/tests/test_poems.py": f'"""{LONG}test."""',
  "poems/autumn.json": json.dumps([{"text": f"{LONG}autumn"}, {"text": f"{LONG}winter"}]),
}
MANIFEST = """
about = "poems"
tiers = ["small", "large"]
default = "large"
{archives}
"""
ARCHIVE = """
[[archives]]
name = "{name}"
version = "1.0"
tier = "{tier}"
licence = "MIT"
file = "{file}"
sha256 = "{sha256}"
reads = [{reads}]
"""
AS_TEXT = '{members = "*.txt"}'


def texts(name, cache, **fields):
  return [
    document.text for document in source_module.read_documents(Data(corpus=name, cache=str(cache), **fields))
  ]


def publish(index, name, tier="small", reads=AS_TEXT, members=MEMBERS):
  file, sha256 = index.add(name, "1.0", members)
  return ARCHIVE.format(name=name, tier=tier, reads=reads, file=file, sha256=sha256)


def test_a_package_gives_its_prose_and_its_docstrings(index, tmp_path):
  index.add("poems", "1.0", MEMBERS)
  assert texts("package:poems==1.0", tmp_path / "cache") == [f"{LONG}spring.\n", f"{LONG}summer\n"]


def test_a_member_is_read_by_the_rules_for_files(index, tmp_path):
  index.add("poems", "1.0", MEMBERS)
  found = texts("package:poems==1.0:poems/*.json", tmp_path / "cache")
  assert found == [f"{LONG}autumn", f"{LONG}winter"]


def test_a_file_in_another_encoding_is_named_with_what_one_can_do_about_it(index, tmp_path):
  index.add("poems", "1.0", {"a.txt": LONG, "latin.txt": LONG.encode() + b"\xe9"})
  with pytest.raises(UserError, match=r"latin\.txt: not UTF-8.*; name the members to read, as package:"):
    texts("package:poems==1.0", tmp_path / "cache")
  assert texts("package:poems==1.0:a*", tmp_path / "cache") == [LONG]


def test_a_corpus_is_built_without_a_network_once_its_archive_is_in_the_cache(index, tmp_path):
  index.add("poems", "1.0", MEMBERS)
  data = Data(corpus="package:poems==1.0", cache=str(tmp_path / "cache"), validation_fraction=0.5)
  said = []
  first = corpus.build_corpus(data, said.append)
  assert said[0] == "downloading poems 1.0" and "SHA-256" in said[-1]
  index.stop()
  data.validation_fraction = 0.3  # another corpus of the same archive
  again = corpus.build_corpus(data)
  assert sorted([*first.train, *first.validation]) == sorted([*again.train, *again.validation])


def test_a_corpus_of_a_manifest_needs_no_archive_once_it_is_built(index, tmp_path):
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems") + publish(index, "songs", "large")))
  data = Data(corpus=f"manifest:{path}", cache=str(tmp_path / "cache"), validation_fraction=0.5)
  # Two archives with the same text are one document, which cannot be split.
  with pytest.raises(UserError, match="one document is left, which cannot be split"):
    corpus.build_corpus(data)
  path.write_text(
    MANIFEST.format(
      archives=publish(index, "poems") + publish(index, "songs", "large", members={"a.txt": f"{LONG}a song"})
    )
  )
  first = corpus.build_corpus(data)
  index.stop()
  for folder in (tmp_path / "cache").glob("archive-*"):
    (folder / "manifest.json").unlink()
  assert corpus.build_corpus(data).sha256 == first.sha256


def test_a_smaller_tier_downloads_only_its_own_archives(index, tmp_path):
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems") + publish(index, "songs", "large")))
  assert texts(f"manifest:{path}:small", tmp_path / "cache") == [f"{LONG}summer\n"]
  assert not [request for request in index.requests if "songs" in request]


def test_an_archive_that_was_changed_on_the_index_is_refused(index, tmp_path):
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems")))
  index.add("poems", "1.0", {"poems/other.txt": "another"})
  with pytest.raises(
    UserError, match=r"poems==1\.0: the index holds another archive than the manifest lists"
  ):
    texts(f"manifest:{path}", tmp_path / "cache")
  assert not list((tmp_path / "cache").glob("archive-*"))


def test_an_archive_that_was_damaged_in_the_cache_is_fetched_again(index, tmp_path):
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems")))
  expected = texts(f"manifest:{path}", tmp_path / "cache")
  (wheel,) = (tmp_path / "cache").glob("archive-*/*.whl")
  wheel.write_bytes(wheel.read_bytes()[:-9])
  assert texts(f"manifest:{path}", tmp_path / "cache") == expected


def test_text_that_is_read_otherwise_than_listed_is_refused(index, tmp_path):
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems") + f'text_sha256 = "{"1" * 64}"\n'))
  with pytest.raises(UserError, match=r"poems==1.0: its text has SHA-256 .* and the manifest lists 1111"):
    texts(f"manifest:{path}", tmp_path / "cache")


def test_strings_of_json_lose_their_markup_and_their_repetitions(index, tmp_path):
  service = {
    "documentation": f"<p>{LONG}<code>x</code> &lt; y</p>",
    "shapes": {
      "documentation": "not a text",
      "A": {"documentation": "<p>Short.</p>"},
      "B": {"documentation": ""},
    },
    "kinds": {"documentation": ["One.", "Short.", 3]},
  }
  members = {
    "a/service.json.gz": gzip.compress(json.dumps(service).encode()),
    "b/service.json": json.dumps(service),
  }
  reads = '{members = "*/service.json*", as = "strings", keys = ["documentation"], html = true}'
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems", "small", reads, members)))
  expected = f"{LONG}x < y\n\nnot a text\n\nShort.\n\nOne.\n"
  assert texts(f"manifest:{path}", tmp_path / "cache") == [expected]


def test_front_matter_is_removed_and_other_languages_are_left_out(index, tmp_path):
  members = {"a.txt": f"---\nkey: a\n---\n{LONG}", "b.txt": f"---\nlanguage: de\n---\n{LONG}deutsch"}
  reads = "{members = '*.txt', without = '---[\\s\\S]*?---\\n', skip = 'language: (?!en)'}"
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems", "small", reads, members)))
  assert texts(f"manifest:{path}", tmp_path / "cache") == [LONG]


def test_a_text_that_mostly_repeats_others_is_left_out(index, tmp_path):
  shared, own = f"{LONG}shared", f"{LONG}own"
  members = {
    "a.txt": f"{shared}\n\n{LONG}a",
    "b.txt": f"{LONG}SHARED\n  \nA few words of its own.",
    "c.txt": f"{shared}\n\n{own}\n\n{own} too",
    "d.txt": f"A few words of its own.\n\n{LONG}d",  # b is left out, so its paragraphs do not count
  }
  reads = "{members = '*.txt', max_repeated = 0.4}"
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems", "small", reads, members)))
  assert texts(f"manifest:{path}", tmp_path / "cache") == [
    members[name] for name in ("a.txt", "c.txt", "d.txt")
  ]


@pytest.mark.parametrize(
  ("members", "sentence"),
  [
    ({"../outside.txt": LONG}, "names a path outside of it"),
    ({"bomb.txt": b"\0" * (20 << 20)}, "more than 200 times its size"),
    ({"latin.txt": LONG.encode() + b"\xe9"}, r"latin.txt: is not UTF-8 at byte 296"),
    ({"other.md": LONG}, r"no member of poems-1.0-py3-none-any.whl matches '\*.txt'"),
  ],
)
def test_a_hostile_or_useless_archive_is_one_sentence(index, tmp_path, members, sentence):
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems", members=members)))
  with pytest.raises(UserError, match=sentence):
    texts(f"manifest:{path}", tmp_path / "cache")


def test_a_bomb_within_a_member_is_not_unpacked(index, tmp_path, monkeypatch):
  monkeypatch.setattr(packages.member_texts, "MAX_MEMBER", 1 << 20)
  members = {"a.json.gz": gzip.compress(b"[" + b" " * (2 << 20) + b"]")}
  reads = '{members = "*.gz", as = "strings", keys = ["a"]}'
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=publish(index, "poems", "small", reads, members)))
  with pytest.raises(UserError, match="expands to more than 1 MiB"):
    texts(f"manifest:{path}", tmp_path / "cache")


def test_processes_that_start_together_download_an_archive_once(index, tmp_path):
  index.add("poems", "1.0", MEMBERS)
  with multiprocessing.get_context("fork").Pool(3) as pool:
    found = pool.starmap(texts, [("package:poems==1.0", tmp_path / "cache")] * 3)
  assert found[0] == found[1] == found[2] != []
  assert sum(request.endswith(".whl") for request in index.requests) == 1


@pytest.mark.parametrize(
  ("name", "sentence"),
  [
    ("package:poems", "names no exact version"),
    ("package:poems>=1", "names no exact version"),
    ("package:../poems==1", "names no exact version"),
    ("manual:huge", "manual:huge is not known; write manual, manual:small, manual:medium, manual:large"),
    ("manifest:no.toml", "cannot read no.toml: No such file"),
    ("packages:poems==1", "the nearest is package"),
  ],
)
def test_a_name_without_meaning_is_one_sentence(name, sentence):
  with pytest.raises(UserError, match=sentence):
    source_module.find_source(Data(corpus=name))


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    (('version = "1.0"', "version = 1.0"), "version holds a number where text is expected"),
    (('licence = "MIT"', "size = 1.5"), "size holds a number where a whole number is expected"),
    (('licence = "MIT"', "colour = 1"), "'colour' is not known"),
    ((".whl", ".tar.gz"), "only wheels are read"),
    (('sha256 = "', 'sha256 = "x'), "sha256 is not 64 hexadecimal digits"),
    (('tier = "small"', 'tier = "huge"'), "tier is 'huge', which is none of small, large"),
    (("{members", "{as = 'poems', members"), "as is 'poems'; known are"),
    (("{members", "{skip = '(', members"), "skip is no regular expression"),
    (("[[archives]]", "[archives]"), "archives holds an object where a list is expected"),
    (('tiers = ["small", "large"]', "tiers = []"), "tiers must be different names"),
    (('tiers = ["small", "large"]', 'tiers = "small"'), "tiers holds text where a list is expected"),
    (('default = "large"', 'default = "huge"'), "default is 'huge', which is none of its tiers small, large"),
    ((f"[{AS_TEXT}]", AS_TEXT), "reads holds an object where a list is expected"),
    (("about =", "about"), "is no valid TOML"),
  ],
)
def test_a_manifest_with_a_mistake_is_one_sentence(tmp_path, change, sentence):
  sound = ARCHIVE.format(
    name="poems", tier="small", reads=AS_TEXT, file="poems-1.0-py3-none-any.whl", sha256="0" * 64
  )
  path = tmp_path / "poems.toml"
  path.write_text(MANIFEST.format(archives=sound))
  assert manifests.read_manifest(path).archives[0].name == "poems"
  path.write_text(MANIFEST.format(archives=sound).replace(*change))
  with pytest.raises(UserError, match=sentence) as raised:
    manifests.read_manifest(path)
  assert str(path) in str(raised.value)


@pytest.mark.parametrize("name", manifests.manifest_names())
def test_the_manifests_of_gen_list_what_each_archive_gives_and_its_licence(name):
  manifest = manifests.read_manifest(manifests.FOLDER / f"{name}.toml")
  assert manifest.about
  for archive in manifest.archives:
    assert archive.licence in ("Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "MIT") and archive.about
    assert archive.size and archive.documents and archive.text_bytes and archive.text_sha256
    assert archive.file.endswith("-none-any.whl"), "the same file on every platform"
  sizes = [manifest.select_tier(tier, name) for tier in manifest.tiers]
  assert [len(held) for held in sizes] == sorted(len(held) for held in sizes)
  assert sum(archive.size for archive in manifest.archives) < 150e6


def test_the_default_corpora_are_as_large_as_their_sweeps_need():
  small, medium, large = (
    packages.find_manifest(f"manual:{tier}")[1] for tier in ("small", "medium", "large")
  )
  assert packages.find_manifest("manual")[1] == medium
  assert sum(archive.size for archive in small) < 20e6
  assert sum(archive.text_bytes for archive in medium) > 20e6
  assert sum(archive.text_bytes for archive in large) > 80e6


def test_a_folder_of_the_default_corpus_name_does_not_replace_it(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "manual").mkdir()
  (tmp_path / "manual" / "a.txt").write_text("a text")
  assert source_module.find_source(Data(corpus="manual")).fingerprint[0] == "package"
  assert source_module.find_source(Data(corpus="./manual")).fingerprint[0] == "files"


def test_a_listed_archive_keeps_its_hash_when_it_is_named_alone():
  (archive,) = (each for each in packages.find_manifest("manual")[1] if each.name == "networkx")
  alone = packages.parse_requirement(f"package:NetworkX=={archive.version}", "text")
  assert (alone.sha256, alone.file) == (archive.sha256, archive.file)
