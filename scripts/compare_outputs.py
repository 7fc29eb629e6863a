"""Records what the project computes, so that two commits can be compared bit for bit.

  python scripts/compare_outputs.py record FILE.json     # trains, fits, audits, plans and generates, small
  python scripts/compare_outputs.py compare A.json B.json

Names may differ between the two; numbers may not. Kept while the code is rearranged.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONFIGS = ("decoder", "encoder", "encoder_decoder", "lstm", "gru")


def run(*words: str) -> str:
  """Returns the standard output of one of the project's programs."""
  done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
  if done.returncode not in (0, 3):
    raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
  return done.stdout


def numbers(value: Any) -> list[Any]:
  """Returns the numbers and truths of a JSON value in order of appearance, whatever their names; no times."""
  if isinstance(value, dict):
    skipped = ("seconds", "version", "machine", "gflops", "utilization", "path", "commit", "created")
    return [
      x for key, item in sorted(value.items()) if not any(s in key for s in skipped) for x in numbers(item)
    ]
  if isinstance(value, list):
    return [x for item in value for x in numbers(item)]
  return [value] if isinstance(value, (int, float)) else []


def tables(folder: Path) -> dict[str, Path]:
  """Writes three tables of runs whose law is known and returns their files."""
  made = {}
  for name, (a, alpha, b, beta, noise) in {
    "wide": (400.0, 0.34, 410.0, 0.28, 0.004),
    "steep": (90.0, 0.45, 900.0, 0.40, 0.01),
    "flat": (1200.0, 0.30, 300.0, 0.33, 0.002),
  }.items():
    rows, state = ["params,tokens,loss,flops"], 12345
    for budget in (1e17, 3e17, 1e18, 3e18, 1e19):
      for step in range(7):
        params = 1e7 * (budget / 1e18) ** 0.5 * 1.7 ** (step - 3)
        tokens = budget / 6 / params
        state = (1103515245 * state + 12345) % 2**31
        loss = 1.7 + a / params**alpha + b / tokens**beta + noise * (state / 2**31 - 0.5)
        rows.append(f"{params:.6g},{tokens:.6g},{loss:.6f},{budget:.6g}")
    made[name] = folder / f"{name}.csv"
    made[name].write_text("\n".join(rows) + "\n")
  return made


def record(path: Path) -> None:
  """Writes everything that is compared."""
  out: dict[str, Any] = {}
  with tempfile.TemporaryDirectory() as folder:
    here = Path(folder)
    run("experiments/chinchilla.py", "--config=configs/smoke.py", f"--workdir={here / 'smoke'}")
    results = json.loads((here / "smoke/results.json").read_text())
    out["smoke"] = sorted([p["params"], p["loss"]] for p in results["points"])
    print("smoke", len(out["smoke"]), file=sys.stderr, flush=True)
    for name in CONFIGS:
      words = [f"--config=configs/{name}.py", "--config.steps=60", "--config.tokens=0", "--config.flops=0"]
      row = json.loads(run("experiments/pretrain.py", *words, f"--workdir={here / name}", "--json=-"))
      out[name] = [
        value
        for key, value in sorted(row.items())
        if key in ("loss", "final_loss", "validation_loss", "train_loss")
      ]
      prompt = "Returns ___ the ___ of an array" if name == "encoder" else "Returns the"
      answer = json.loads(
        run(
          "experiments/generate.py",
          f"--checkpoint={here / name}",
          f"--prompt={prompt}",
          "--temperature=0",
          "--max_tokens=32",
          "--json=-",
        )
      )
      out[f"{name} tokens"] = numbers(answer)
      print(name, out[name], file=sys.stderr, flush=True)
    for name, table in tables(here).items():
      fit = run(
        "experiments/fit_scaling_law.py", f"--runs={table}", "--approach=all", "--bootstraps=200", "--json=-"
      )
      out[f"fit {name}"] = numbers(json.loads(fit))
      out[f"audit {name}"] = numbers(
        json.loads(run("experiments/audit.py", f"--runs={table}", "--bootstraps=50", "--json=-"))
      )
      plan = run("experiments/plan.py", "--flops=1e20", f"--law={table}", "--bootstraps=100", "--json=-")
      out[f"plan {name}"] = numbers(json.loads(plan))
    out["plan published"] = numbers(
      json.loads(run("experiments/plan.py", "--flops=5.76e23", "--law=hoffmann2022", "--json=-"))
    )
  path.write_text(json.dumps(out, indent=1) + "\n")


def compare(first: Path, second: Path) -> int:
  """Prints what differs and returns the exit code."""
  a, b = json.loads(first.read_text()), json.loads(second.read_text())
  unlike = []
  for key in sorted(a.keys() | b.keys()):
    x, y = a.get(key), b.get(key)
    same = x == y or sorted(map(repr, x or [])) == sorted(map(repr, y or []))
    if not same:
      unlike.append(key)
  for key in unlike:
    print(f"differs: {key}")
  print(f"{len(a.keys() | b.keys()) - len(unlike)} of {len(a.keys() | b.keys())} are the same")
  return 1 if unlike else 0


if __name__ == "__main__":
  if sys.argv[1] == "record":
    record(Path(sys.argv[2]))
  else:
    sys.exit(compare(Path(sys.argv[2]), Path(sys.argv[3])))
