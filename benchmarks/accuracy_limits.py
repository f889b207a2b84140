"""What the photons tell of one pixel of the sky by itself: how far answers of the accuracy benchmark lean on others.

    python benchmarks/accuracy_limits.py            writes benchmarks/accuracy_limits.json, a few minutes

The bound of Cramér and Rao for a pixel's light and the velocity of all it emits, from the counts of all instruments,
where its spectrum and all other pixels are known exactly: no unbiased estimate has smaller errors, and one that does
not know the others has larger ones. What lies below is biased: it leans on what neighbours have in common.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np
from accuracy_scenes import SCENES, VELOCITY, Challenge, challenge
from scipy.interpolate import interp1d

from hifred import metrics
from hifred.doppler import energy_factor
from hifred.fitsio import replacing
from hifred.metrics.scores import FAINT_LINE

LIMITS = Path(__file__).parent / "accuracy_limits.json"
EVERY = 5  # of all pixels, one in so many along each axis is asked
# Where less than this part of what is known of light or velocity is left when the other is not known, nothing is.
LEFT = 1e-6


def limits(problem: Challenge) -> dict[str, float]:
    """Least errors of one pixel, of pixels that are asked.

    `flux` is the error of the light over the photon noise of a camera without blur (`Challenge.noise`), which does not
    depend on the number of counts; `velocity` the root mean square error, km/s, where velocities are measured. Pixels
    of which the data tell nothing are left out.
    """
    truth = problem.truth
    cube = truth.values
    sky = interp1d(truth.energies, cube, axis=0, bounds_error=False, fill_value=0)
    away, near = (sky(truth.energies / energy_factor(speed)) for speed in (VELOCITY / 2, -VELOCITY / 2))
    slope = ((away - near) / VELOCITY).astype(cube.dtype)
    means = [np.asarray(dataset.predict(cube), dtype=float) for dataset in problem.datasets]
    roots = [
        np.sqrt(np.where(d.mask & (mean > 0), mean, np.inf)) for d, mean in zip(problem.datasets, means, strict=True)
    ]
    forward = [jax.jit(dataset.response.mv) for dataset in problem.datasets]

    def told(pixel: tuple[int, int]) -> np.ndarray:
        """Fisher information on the share of its light and on its velocity."""
        vectors = []
        for part in (cube, slope):
            alone = np.zeros_like(cube)
            alone[:, *pixel] = part[:, *pixel]
            counts = [fold(alone) / root for fold, root in zip(forward, roots, strict=True)]
            vectors.append(np.concatenate([np.ravel(instrument) for instrument in counts]))
        return np.inner(vectors, vectors)

    light = cube.sum(0, dtype=float)
    line = metrics.line_maps(cube, truth.energies, truth.sky.line).flux
    asked = [p for p in np.ndindex(*light.shape) if p[0] % EVERY == p[1] % EVERY == EVERY // 2 and light[p] > 0]
    information = {pixel: told(pixel) for pixel in asked}
    covariances = {
        p: np.linalg.inv(i) for p, i in information.items() if np.linalg.det(i) > LEFT * np.prod(i.diagonal())
    }
    noise = problem.noise_by_pixel
    flux = sum(np.sqrt(c[0, 0]) * light[p] for p, c in covariances.items()) / light.sum()
    speeds = [c[1, 1] for p, c in covariances.items() if line[p] > FAINT_LINE * line.max()]
    return {"flux": float(flux / sum(noise[p] for p in covariances)), "velocity": float(np.sqrt(np.mean(speeds)))}


def known(path: Path = LIMITS) -> dict[str, dict[str, float]]:
    """Limits by scene, and the counts that they are of; errors of velocity fall with the root of the counts."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def main() -> None:
    """Measure all scenes with their middle counts, first sky and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", choices=list(SCENES), default=list(SCENES))
    parser.add_argument("--output", type=Path, default=LIMITS, help="what it has of other scenes stays")
    asked = parser.parse_args()
    found = known(asked.output)
    for scene in asked.scenes:
        counts = SCENES[scene].middle
        found[scene] = {"counts": counts} | limits(challenge(scene, counts, 0, 0))
        with replacing(asked.output) as part:
            part.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(scene, found[scene], flush=True)


if __name__ == "__main__":
    main()
