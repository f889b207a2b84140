"""Write an event list, then read and bin it in pieces: events per second, and memory that must not grow with the list.

python benchmarks/bench_events.py [rows]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hifred.instruments.columns import EventColumns

COLUMNS = EventColumns(keep={"PATTERN": [[0, 4]], "FLAG": [0]}, gti=("STDGTI*",))

# Peak memory is that of a whole process: each file is read in a new one.
READER = """
import resource, sys, time
import numpy as np
from hifred.data.events import EventFile
from hifred.instruments.columns import EventColumns

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
columns = EventColumns(keep={"PATTERN": [[0, 4]], "FLAG": [0]}, gti=("STDGTI*",))
began = time.perf_counter()
file = EventFile(sys.argv[1], columns)
opened = time.perf_counter() - began
cube = np.zeros(60 * 128 * 128, np.int64)
for events in file.pieces():
    e = np.clip((events.energy / 12 * 60).astype(int), 0, 59)
    x, y = (np.clip(((v - 25921) / 160 + 64).astype(int), 0, 127) for v in (events.x, events.y))
    cube += np.bincount((e * 128 + y) * 128 + x, minlength=cube.size)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{file.rows} {cube.sum()} {opened} {seconds} {before / 1024} {peak / 1024}")
"""


def write(path: Path, rows: int) -> float:
    """Seconds to write `rows` events with the columns of XMM-Newton EPIC-pn."""
    from hifred.data.event_writer import LAYOUTS, write_events

    rng = np.random.default_rng(0)
    small = np.zeros(rows, np.int16)
    extra = {"RAWX": small, "RAWY": small, "DETX": small, "DETY": small, "PHA": small, "CCDNR": small.astype(np.uint8)}
    time_, channel = np.sort(rng.uniform(0, 1e5, rows)), rng.integers(200, 12000, rows).astype(np.int16)
    sky = (rng.normal(10, 0.02, rows), rng.normal(20, 0.02, rows))
    began = time.perf_counter()
    write_events(
        path, COLUMNS, **LAYOUTS["epic-pn"], telescope="XMM", instrume="EPN", time=time_, channel=channel, sky=sky,
        center=(10.0, 20.0), good_times=[(0, 4e4), (5e4, 1e5)], exposure=9e4, extra_columns=extra,
    )  # fmt: skip
    return time.perf_counter() - began


def main() -> None:
    most = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        for rows in (most // 10, most):
            path = Path(folder) / f"{rows}.fits"
            # In a process of its own, so that what the writer holds is not counted.
            seconds = float(subprocess.check_output([sys.executable, __file__, "--write", str(path), str(rows)]))
            print(f"{rows:>12,} rows, {path.stat().st_size / 1e6:,.0f} MB, written in {seconds:.1f} s")
            out = subprocess.check_output([sys.executable, "-c", READER, str(path)], text=True, env=os.environ)
            _, kept, opened, took, before, peak = (float(word) for word in out.split())
            print(
                f"{'':12} opened in {opened * 1e3:.1f} ms; {kept:,.0f} binned at {rows / took:,.0f} events/s; "
                f"peak memory {peak:.0f} MB, of which {before:.0f} before"
            )
            path.unlink()


if sys.argv[1:2] == ["--write"]:
    print(write(Path(sys.argv[2]), int(sys.argv[3])))
elif __name__ == "__main__":
    main()
