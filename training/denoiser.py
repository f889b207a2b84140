"""Train the denoiser that comes with hifred, on simulated skies that no benchmark uses.

    python training/denoiser.py            # writes src/hifred/priors/denoiser_weights.npz

Clean images are those that the prior `Denoiser` hands to it, made from true cubes: the flux image and the maps of the
principal spectra, in units of the noise that photons of a random number give. Seeds are fixed.
"""

import argparse
import json
import os
import time
from itertools import pairwise
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hifred.priors.denoisers import ResidualNetwork
from hifred.simulate import scene

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "src" / "hifred" / "priors" / "denoiser_weights.npz"

SCENES = ("gaussian-1kev-rebin", "gaussian-6kev-rebin", "cluster")
SEEDS = tuple(range(100, 108))
COMPONENTS = 12
# Photons in the image from which the noise of a training example follows.
PHOTONS = (3e4, 1e8)
LAYERS, CHANNELS = 5, 24
STEPS, BATCH, RATE = 1100, 16, 2e-3


def clean_maps(values: np.ndarray) -> np.ndarray:
    """The image and the maps of the principal spectra of a cube.

    Parameters
    ----------
    values : array of shape (energy, y, x)
        A true sky.

    Returns
    -------
    array of shape (1 + COMPONENTS, y, x)
        `sqrt(I)` and `w_k / sqrt(I)`, with the sky scaled to one photon in all: times the square root of the number
        of photons, the noise of each is about 1.
    """
    cube = values / values.sum()
    image, spectrum = cube.sum(0), cube.sum((1, 2))
    model = np.maximum(spectrum[:, None, None] * image, 1e-30)
    left = ((cube - model) / np.sqrt(model)).reshape(len(cube), -1)
    _, vectors = np.linalg.eigh(left.T @ left)
    maps = vectors[:, ::-1].T[:COMPONENTS] * np.linalg.norm(left @ vectors[:, ::-1][:, :COMPONENTS], axis=0)[:, None]
    return np.concatenate([np.sqrt(image)[None], maps.reshape(-1, *image.shape)])


def examples(maps: list[np.ndarray], rng: np.random.Generator, count: int) -> np.ndarray:
    """Clean images at random: turned, mirrored, of a random number of photons."""
    out = []
    for _ in range(count):
        skies = maps[rng.integers(len(maps))]
        photons = np.exp(rng.uniform(*np.log(PHOTONS)))
        image = np.sqrt(photons) * skies[rng.integers(len(skies))]
        image = np.rot90(image, rng.integers(4))
        out.append(rng.choice([-1.0, 1.0]) * (image.T if rng.random() < 0.5 else image))
    return np.stack(out).astype(np.float32)


def start(rng: np.random.Generator) -> ResidualNetwork:
    """Random kernels (He et al. 2015), the last ones small."""
    widths = [2, *[CHANNELS] * (LAYERS - 1), 1]
    kernels = [
        jnp.asarray(rng.normal(size=(out, into, 3, 3)) * np.sqrt(2 / (9 * into)), jnp.float32)
        for into, out in pairwise(widths)
    ]
    return ResidualNetwork((*kernels[:-1], 0.1 * kernels[-1]))


def loss(network: ResidualNetwork, noisy: jax.Array, clean: jax.Array) -> jax.Array:
    """Mean squared error in units of the noise."""
    return ((network(noisy, 1.0) - clean) ** 2).mean()


@eqx.filter_jit
def adam(network, moments, noisy, clean, step, rate):
    """One step of Adam (Kingma & Ba 2015)."""
    value, gradient = eqx.filter_value_and_grad(loss)(network, noisy, clean)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, moments[1], gradient)
    scale = rate * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    network = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) + 1e-8), network, first, second)
    return network, (first, second), value


def main() -> None:
    """Simulate, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    began = time.perf_counter()
    maps = [clean_maps(scene(name, seed, 1e5).truth.values) for name in SCENES for seed in SEEDS]
    print(f"{len(maps)} skies simulated in {time.perf_counter() - began:.0f} s", flush=True)
    rng = np.random.default_rng(0)
    network = start(rng)
    zero = jax.tree.map(jnp.zeros_like, network)
    moments, losses = (zero, zero), []
    for step in range(1, options.steps + 1):
        clean = examples(maps, rng, BATCH)
        noisy = clean + rng.normal(size=clean.shape).astype(np.float32)
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / options.steps))
        network, moments, value = adam(network, moments, noisy, clean, jnp.float32(step), jnp.float32(rate))
        losses.append(float(value))
        if step % 100 == 0:
            print(
                f"step {step}: {np.mean(losses[-100:]):.4f} of the noise left, {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    about = {
        "scenes": SCENES, "seeds": SEEDS, "components": COMPONENTS, "photons": PHOTONS, "steps": options.steps,
        "random_seed": 0, "noise_left": float(np.mean(losses[-100:])),
    }  # fmt: skip
    part = options.output.with_suffix(".part")
    with open(part, "wb") as stream:
        kernels = {f"kernel_{i}": np.asarray(kernel) for i, kernel in enumerate(network.kernels)}
        np.savez(stream, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **kernels)
    os.replace(part, options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
