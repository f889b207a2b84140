"""Blurs that vary against stationary ones of the same size: one forward and transpose pass, side by side."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from hifred import Response

SHAPE = (200, 80, 80)
TAPS, PASSES = 31, 5


def seconds(response: Response) -> float:
    """Shortest time of a pass."""
    both = jax.jit(lambda cube: response.operator.rmv(response.operator.mv(cube)))
    cube = jnp.ones(SHAPE, jnp.float32)
    both(cube).block_until_ready()
    times = []
    for _ in range(PASSES):
        began = time.perf_counter()
        both(cube).block_until_ready()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    offsets = np.hypot(*np.mgrid[-10:11, -10:11])
    width = 2 + 1.5 * np.hypot(*np.mgrid[-1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j])
    by_pixel = np.exp(-0.5 * (offsets / width[:, :, None, None]) ** 2)
    by_energy = np.exp(-0.5 * (offsets / np.linspace(2, 4, SHAPE[0])[:, None, None]) ** 2)
    taps = np.arange(TAPS) - TAPS // 2
    kernels = np.exp(-0.5 * (taps / np.linspace(3, 6, SHAPE[0])[:, None]) ** 2)
    for name, still, varying in (
        ("psf by pixel (M, N, h, w)", {"psf": by_pixel[40, 40]}, {"psf": by_pixel}),
        ("psf by energy (L, h, w)", {"psf": by_energy[100]}, {"psf": by_energy}),
        ("lsf by energy (L, k)", {"lsf": kernels[100]}, {"lsf": kernels}),
    ):
        one, other = (seconds(Response.from_kernels(SHAPE, **kernel)) for kernel in (still, varying))
        print(f"{name}: stationary {one:.3f} s, varying {other:.3f} s, ratio {other / one:.1f}")


if __name__ == "__main__":
    main()
