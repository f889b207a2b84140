"""Time and peak memory to read response matrices, each in a process of its own.

python benchmarks/bench_rmf.py [file ...]

Without files: the real ones of the shared data (HIFRED_SHARED_DATA, by default ../shared/data).
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path


def measure(path: str) -> None:
    """Read one matrix and put it on bins of 0.5 eV, and print what that took."""
    import numpy as np

    from hifred.instruments.rmf import Redistribution

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    matrix = Redistribution.read(path)
    read = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    fine = matrix.on(np.linspace(1.8, 10.0, 16401))
    spread = time.perf_counter() - began
    print(
        f"{Path(path).name:24} read {read:5.2f} s, peak {peak / 1024:4.0f} MB ({before / 1024:.0f} MB of it imports)"
        f", {matrix.matrix.nnz:,} elements; on 16400 bins {spread:.2f} s, {fine.nnz:,} elements"
    )
    print(f"  {matrix.describe()}")


if sys.argv[1:2] == ["--one"]:
    measure(sys.argv[2])
else:
    folder = Path(os.environ.get("HIFRED_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    paths = sys.argv[1:] or sorted(map(str, folder.glob("responses/*.rmf.gz")))
    if not paths:
        print(f"no response matrices in {folder}/responses (set HIFRED_SHARED_DATA)")
    for path in paths:
        subprocess.run([sys.executable, __file__, "--one", path], check=True)
