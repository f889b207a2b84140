"""How well noiseless data of the authors' toy problem can be fitted at all, with mirror edges and with empty ones.

    python benchmarks/bench_boundary.py

A fit of the expected counts themselves, by EM without any prior: what is left is not noise but the model of the edges.
"""

import runpy
from pathlib import Path

import hifred

toy = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "authors_toy.py"))

print("boundary   divergence of X   of Y      sum    as part of the data term of the truth")
for boundary in ("reflect", "zero"):
    datasets, truth = toy["load"](boundary, 1.0)
    best = toy["data_term"](datasets, truth)
    noiseless = [
        hifred.Dataset(expected, dataset.response, name=dataset.name)
        for dataset, expected in zip(datasets, truth, strict=True)
    ]
    prior = hifred.priors.Unregularized(stop_at_noise=False)
    fused = hifred.fuse(noiseless, prior, max_iterations=150, tolerance=0.0, progress=False)
    left = [toy["divergence"](t, fused.predict(d)) for t, d in zip(truth, noiseless, strict=True)]
    print(f"{boundary:8} {left[0]:17,.0f} {left[1]:9,.0f} {sum(left):9,.0f}    {sum(left) / abs(best):.4%}")
