"""Programs run at any terminal: odd widths, encodings without the letters of the text, readers that leave."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAN = ("experiments/plan.py", "--budget=1e18")


def program(body):
  """Returns a command that runs a body of a main function through `launch.run_experiment`."""
  lines = textwrap.indent(textwrap.dedent(body).strip(), "  ")
  return [
    sys.executable,
    "-c",
    f"from gen.cli import launch\ndef main():\n{lines}\nlaunch.run_experiment(main, trains=False)",
  ]


def ended(command, **environment):
  set_here = {name: value for name, value in environment.items() if value is not None}
  kept = {name: value for name, value in os.environ.items() if name not in environment}
  return subprocess.run(command, cwd=ROOT, env=kept | set_here, capture_output=True, timeout=120)


@pytest.mark.parametrize("columns", ["1", "7", "0", "-5", "x", "", "9" * 20])
@pytest.mark.parametrize("term", ["dumb", None])
def test_help_is_laid_out_at_any_width(columns, term):
  found = ended([*program("pass"), "--help"], COLUMNS=columns, TERM=term)
  assert found.returncode == 0 and b"helpfull" in found.stdout
  assert found.stderr == b""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1:strict"])
def test_text_that_the_encoding_lacks_is_written_with_replacements(encoding):
  found = ended(program('print("caf\\u00e9 \\u2581\\u732b", "\\udc80")'), PYTHONIOENCODING=encoding)
  assert (found.returncode, found.stderr) == (0, b"")
  assert found.stdout.startswith(b"caf") and found.stdout.endswith(b" ?? ?\n")


def test_an_error_about_text_that_the_encoding_lacks_is_one_sentence():
  body = """
    from gen.errors import UserError
    raise UserError("\\u732b \\ud800 is no word")
  """
  found = ended(program(body), PYTHONIOENCODING="ascii", LC_ALL="C")
  assert found.returncode == 2
  assert found.stderr.startswith(b"error: ") and found.stderr.count(b"\n") == 1


@pytest.mark.parametrize("flushes", ["True", "False"])
def test_a_reader_that_leaves_ends_the_program_quietly(flushes):
  body = f"""
    for number in range(100_000):
      print(number, flush={flushes})
  """
  with subprocess.Popen(program(body), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert process.stderr.read() == b""
  assert process.returncode == 141


def test_a_broken_pipe_to_another_process_is_no_reader_that_leaves():
  found = ended(program('raise BrokenPipeError("to a worker")'))
  assert found.returncode == 1 and b"to a worker" in found.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")  # noqa: PTH110
def test_a_full_disk_under_standard_output_is_one_sentence():
  with open("/dev/full", "wb") as full:  # noqa: PTH123
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    command = program('print("a")')
    found = subprocess.run(command, cwd=ROOT, env=buffered, stdout=full, stderr=subprocess.PIPE, timeout=120)
  assert found.returncode == 1
  assert found.stderr == b"error: standard output cannot be written: No space left on device\n"


def test_a_closed_standard_output_is_no_error():
  command = " ".join(("exec", sys.executable, *PLAN, ">&-"))
  found = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, timeout=120)
  assert (found.returncode, found.stderr) == (0, b"")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_terminal_shows_what_is_written_and_may_be_closed_meanwhile(tmp_path, encoding):
  body = f"""
    import signal, sys, time
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    print("caf\\u00e9")
    print("here", file=sys.stderr)
    sys.stdin.read(1)
    for _ in range(3):
      print("lost", flush=True)
      print("lost", file=sys.stderr)
    open({str(tmp_path / "done")!r}, "w").write("done")
  """
  master, slave = os.openpty()
  reading, writing = os.pipe()
  environment = os.environ | {"PYTHONIOENCODING": encoding}
  with subprocess.Popen(
    program(body), cwd=ROOT, env=environment, stdin=reading, stdout=slave, stderr=slave
  ) as process:
    os.close(slave)
    shown = b""
    while b"here" not in shown:
      shown += os.read(master, 1000)
    os.close(master)
    os.write(writing, b"x")
  os.close(reading)
  os.close(writing)
  assert shown.startswith("café".encode() if encoding == "utf-8" else b"caf?")
  assert process.returncode == 0 and (tmp_path / "done").read_text() == "done"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("python", [[], ["-u"]])
@pytest.mark.parametrize(
  "body", ["for number in range(100_000):\n  print(number)", "print(1)", "print(1, flush=True)"]
)
def test_a_full_disk_is_one_sentence_whenever_it_is_met(python, body):
  command = program(body)
  with Path("/dev/full").open("w") as full:
    found = subprocess.run(
      [command[0], *python, *command[1:]], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=120
    )
  assert found.returncode == 1
  assert found.stderr == b"error: standard output cannot be written: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_help_on_a_full_disk_is_one_sentence():
  with Path("/dev/full").open("w") as full:
    found = subprocess.run(
      [*program("pass"), "--help"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=120
    )
  assert (found.returncode, found.stderr.count(b"\n")) == (1, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_work_goes_on_and_errors_keep_their_code_where_standard_error_is_full():
  body = """
    import sys
    from gen.errors import UserError
    print("progress", file=sys.stderr, flush=True)
    print("done", flush=True)
    raise UserError("a mistake")
  """
  with Path("/dev/full").open("w") as full:
    found = subprocess.run(program(body), cwd=ROOT, stdout=subprocess.PIPE, stderr=full, timeout=120)
  assert (found.returncode, found.stdout) == (2, b"done\n")
