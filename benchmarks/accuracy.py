"""How close each prior comes to known skies: a challenge that can be stopped, continued and extended.

    python benchmarks/accuracy.py --quick                a few scenes, under 10 minutes on two cores
    python benchmarks/accuracy.py --scenes cluster --counts 1e6 --seeds 0 1 --draws 0 --methods "DopplerSheets blind"
    python benchmarks/accuracy.py --table                writes benchmarks/ACCURACY.md and .png from what was measured

Every result is one line of benchmarks/accuracy.jsonl as soon as it is there; what is there is not run again, unless it
is of another commit and --fresh is given: a run that was killed goes on where it was. To enter a method, add it to
`METHODS` in accuracy_methods.py: a function of the data, and of the truth if it is an oracle. To enter a sky, add it to
`SCENES` in accuracy_scenes.py.
"""

import argparse
import itertools
import json
import os
import subprocess
import time
from pathlib import Path

import accuracy_picture
import accuracy_table
from accuracy_methods import METHODS, QUICK_METHODS
from accuracy_scenes import FRACTIONS, SCENES, Challenge, challenge, toy

from hifred.fitsio import replacing

HERE = Path(__file__).parent
RESULTS, TABLE = HERE / "accuracy.jsonl", HERE / "ACCURACY.md"
SEEDS, DRAWS = (0, 1, 2), (0, 1)
QUICK = ("cluster", "realistic-1kev")
TOY = "toy"
KEYS = ("scene", "counts", "seed", "draw", "method")


def known(path: Path, code: str | None = None) -> list[dict]:
    """Results in a file, the last of each key; only those of a commit, if one is given."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    try:
        rows = [row for row in map(json.loads, lines) if code in (None, row["commit"])]
    except json.JSONDecodeError as error:
        raise SystemExit(f"{path}: expected one JSON object a line, found another line ({error.doc[:60]!r})") from None
    return list({tuple(row[key] for key in KEYS): row for row in rows}.values())


def keep(path: Path, row: dict) -> None:
    """Append a result; it is on the disk when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def commit() -> str:
    """Short hash of the commit that last changed the package, with a mark if its files differ from that."""

    def git(*arguments: str) -> str:
        asked = ["git", "-C", str(HERE.parent), *arguments, "--", "src/hifred"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

    return git("log", "-1", "--format=%h") + ("-dirty" if git("status", "--porcelain") else "")


def missing(key: dict, methods, rows: list[dict]) -> list[str]:
    """The methods that have no result yet."""
    done = {tuple(row[k] for k in KEYS) for row in rows}
    oracles = key["scene"] != TOY  # they need a true cube
    wanted = [method for method in methods if oracles or not METHODS[method].oracle]
    if oracles and (key["draw"] or key["counts"] != SCENES[key["scene"]].middle):
        wanted = [method for method in wanted if not METHODS[method].once]
    return [method for method in wanted if (*(key[k] for k in KEYS[:-1]), method) not in done]


def run(problem: Challenge, key: dict, methods: list[str], path: Path, code: str) -> None:
    """Measure methods."""
    for method in methods:
        began = time.perf_counter()
        answer = METHODS[method](problem)
        seconds = time.perf_counter() - began
        row = key | {"method": method, "seconds": round(seconds, 1), "commit": code}
        row |= {"settings": answer.settings, "iterations": answer.iterations} | problem.measures(answer.cube)
        keep(path, row)
        shown = {k: v if not isinstance(v, float) else float(f"{v:.4g}") for k, v in row.items() if k not in KEYS[:4]}
        print({k: v for k, v in shown.items() if v is not None}, flush=True)


def cells(asked: argparse.Namespace) -> list[dict]:
    """What is asked for: all scenes with the first sky and the first draw, then others."""
    found = []
    for draw, seed, scene in itertools.product(asked.draws, asked.seeds, asked.scenes):
        if scene != TOY:
            levels = asked.counts or SCENES[scene].counts
        else:
            levels = asked.fractions if (seed, draw) == (asked.seeds[0], asked.draws[0]) else ()
        first = (0, 0) if scene == TOY else (seed, draw)
        found += [{"scene": scene, "counts": c, "seed": first[0], "draw": first[1]} for c in levels]
    return found


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", choices=[*SCENES, TOY])
    parser.add_argument("--counts", nargs="+", type=float, help="of the camera; default: what each scene has")
    parser.add_argument("--fractions", nargs="+", type=float, default=FRACTIONS, help="of the counts of the toy")
    parser.add_argument("--seeds", nargs="+", type=int, help=f"of the skies; default: {SEEDS}")
    parser.add_argument("--draws", nargs="+", type=int, help=f"of the photons; default: {DRAWS}")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="default: all whose packages are there")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--fresh", action="store_true", help="results of other commits do not count")
    parser.add_argument(
        "--quick", action="store_true", help="by default only two scenes, 1e5 counts, and a few methods"
    )
    parser.add_argument("--table", action="store_true", help="run nothing, only write the table and the picture")
    parser.add_argument(
        "--output", type=Path, default=TABLE, help="where to write the table; the picture lies beside it"
    )
    asked = parser.parse_args()
    usual_methods = [name for name, method in METHODS.items() if method.available]
    if asked.quick:
        usual = {"scenes": QUICK, "counts": (1e5,), "seeds": (0,), "draws": (0,), "methods": QUICK_METHODS}
    else:
        usual = {"scenes": [*SCENES, TOY], "seeds": SEEDS, "draws": DRAWS, "methods": usual_methods}
    for name, value in usual.items():
        setattr(asked, name, getattr(asked, name) or value)
    code = commit()
    for key in [] if asked.table else cells(asked):
        methods = missing(key, asked.methods, known(asked.results, code if asked.fresh else None))
        if methods:
            scene, counts, seed, draw = key.values()
            print(
                f"# {scene}, {counts:g} {'of its counts' if scene == TOY else 'counts'}, seed {seed}, draw {draw}",
                flush=True,
            )
            problem = toy(counts) if scene == TOY else challenge(scene, counts, seed, draw)
            run(problem, key, methods, asked.results, code)
    rows, picture = known(asked.results), asked.output.with_suffix(".png")
    with replacing(asked.output) as part:
        part.write_text(accuracy_table.write(rows, picture.name), encoding="utf-8")
    with replacing(picture) as part:
        accuracy_picture.draw(rows).savefig(part, format="png", dpi=110)
    print(f"wrote {asked.output} and {picture}")


if __name__ == "__main__":
    main()
