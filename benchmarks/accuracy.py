"""How close each prior comes to known skies: a challenge that can be stopped, continued and extended.

    python benchmarks/accuracy.py --quick                a few scenes, under 10 minutes on two cores
    python benchmarks/accuracy.py --scenes cluster --counts 1e6 --seeds 0 1 --draws 0 --methods "DopplerSheets blind"
    python benchmarks/accuracy.py --table                writes benchmarks/ACCURACY.md from what was measured

Every result is one line of benchmarks/accuracy.jsonl as soon as it is there; what is there is not run again. To enter a
method, add it to `METHODS` in accuracy_methods.py: a function of the data, and of the truth if it is an oracle.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import accuracy_table
import numpy as np
from accuracy_methods import METHODS, QUICK_METHODS
from accuracy_scenes import SCENES, Challenge, challenge, toy

HERE = Path(__file__).parent
RESULTS, TABLE = HERE / "accuracy.jsonl", HERE / "ACCURACY.md"
COUNTS, FRACTIONS = (1e5, 1e6, 2.3e7), (1.0, 0.2, 0.05)
QUICK = ("cluster", "realistic-1kev")
KEYS = ("scene", "counts", "seed", "draw", "method")


def known(path: Path) -> list[dict]:
    """Results in a file, the last of each key."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return list({tuple(row[key] for key in KEYS): row for row in rows}.values())


def keep(path: Path, row: dict) -> None:
    """Append a result, whole or not at all."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def commit() -> str:
    """Short hash of the code that runs."""
    asked = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def run(problem: Challenge, key: dict, methods, path: Path) -> None:
    """Measure the methods that have no result yet."""
    done = {tuple(row[k] for k in KEYS) for row in known(path)}
    for method in methods:
        if (*(key[k] for k in KEYS[:-1]), method) in done or not METHODS[method].takes(problem):
            continue
        began = time.perf_counter()
        answer = METHODS[method](problem)
        seconds = time.perf_counter() - began
        row = key | {"method": method, "seconds": round(seconds, 1), "commit": commit()}
        row |= {"settings": answer.settings, "iterations": answer.iterations} | problem.measures(answer.cube)
        keep(path, row)
        shown = {k: v if not isinstance(v, float) else float(f"{v:.4g}") for k, v in row.items() if k not in KEYS[:4]}
        print({k: v for k, v in shown.items() if v is not None}, flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", default=[*SCENES, "toy"], choices=[*SCENES, "toy"])
    parser.add_argument("--counts", nargs="+", type=float, default=COUNTS)
    parser.add_argument("--fractions", nargs="+", type=float, default=FRACTIONS, help="of the counts of the toy")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--draws", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="two scenes at 1e5 counts, a few methods")
    parser.add_argument("--table", action="store_true", help=f"only write {TABLE.name}")
    asked = parser.parse_args()
    if asked.quick:
        asked.scenes, asked.counts, asked.seeds, asked.draws = QUICK, (1e5,), (0,), (0,)
        asked.methods = QUICK_METHODS
    if not asked.table:
        np.seterr(divide="ignore", invalid="ignore")
        for seed, draw in [(s, d) for d in asked.draws for s in asked.seeds]:
            for scene in asked.scenes:
                for counts in asked.fractions if scene == "toy" else asked.counts:
                    if scene == "toy" and (seed, draw) != (0, 0):
                        continue
                    print(f"# {scene}, {counts:g} counts, seed {seed}, draw {draw}", flush=True)
                    problem = toy(counts) if scene == "toy" else challenge(scene, counts, seed, draw)
                    key = {"scene": scene, "counts": counts, "seed": seed, "draw": draw}
                    run(problem, key, asked.methods, asked.results)
    TABLE.write_text(accuracy_table.write(known(asked.results)), encoding="utf-8")


if __name__ == "__main__":
    main()
