"""Forward and transpose through each form of an operator, side by side in one run.

python benchmarks/bench_response.py
"""

import time

import jax
import numpy as np

from hifred.response import Response
from hifred.response.energy import banded, convolution_matrix, dense
from hifred.response.sky import SkyMatrix, fft_convolution, sky_matrix


def seconds(operator, repeat: int = 3) -> float:
    """Least time of a forward and transpose pass, compiled."""
    cube = jax.numpy.asarray(np.random.default_rng(0).random(operator.in_shape), np.float32)
    leaves, structure = jax.tree.flatten(operator)

    @jax.jit
    def apply(leaves, cube):
        op = jax.tree.unflatten(structure, leaves)
        return op.rmv(op.mv(cube))

    apply(leaves, cube).block_until_ready()
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        apply(leaves, cube).block_until_ready()
        times.append(time.perf_counter() - began)
    return min(times)


def gaussian(taps: int, sigma: float) -> np.ndarray:
    """Normalised Gaussian kernel."""
    kernel = np.exp(-0.5 * ((np.arange(taps) - taps // 2) / sigma) ** 2)
    return kernel / kernel.sum()


print("sky part: 200 energies, PSF 25 x 25, no rebinning")
for side in (24, 45, 60, 80):
    psf = np.outer(gaussian(25, 4), gaussian(25, 4))
    matrix = SkyMatrix(
        jax.numpy.asarray(sky_matrix(psf, (side, side), (1, 1), reflect=False), np.float32),
        200,
        (side,) * 2,
        (side,) * 2,
    )
    fft = fft_convolution(psf, (200, side, side), np.float32, reflect=False)
    a, b = seconds(matrix), seconds(fft)
    print(f"  {side:3} x {side:<3} {side**4:12,} products   matrix {a:.4f} s   FFT {b:.4f} s   ratio {a / b:.2f}")

print("energy part: 1024 pixels, square matrix")
for energies, taps in ((600, 31), (2400, 31), (2400, 467), (8000, 61)):
    matrix = convolution_matrix(gaussian(taps, taps / 6), energies, "zero")
    a = seconds(banded(matrix, (32, 32), 128, np.float32))
    b = seconds(dense(matrix, (32, 32), np.float32))
    print(f"  {energies} energies, {taps} taps   banded {a:.4f} s   dense {b:.4f} s   ratio {a / b:.2f}")

print("both instruments of a 2400 x 45 x 45 cube (CCD 60 x 45 x 45, calorimeter 2400 x 15 x 15)")
ccd = Response.from_kernels((2400, 45, 45), lsf=gaussian(467, 58), rebin=(40, 1, 1))
calorimeter = Response.from_kernels((2400, 45, 45), psf=np.outer(gaussian(25, 4), gaussian(25, 4)), rebin=(1, 3, 3))
print(f"  CCD {seconds(ccd.operator):.4f} s   calorimeter {seconds(calorimeter.operator):.4f} s")
