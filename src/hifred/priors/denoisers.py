"""Denoisers of images: the small trained network that comes with the package, BM3D, and any other function."""

import importlib
import json
import threading
from collections.abc import Callable
from functools import cache
from importlib import resources

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import DTypeLike

WEIGHTS = "denoiser_weights.npz"

Images = Float[Array, "image y x"]

# Anyone's functions need not bear to be called by several fits at once.
_on_host = threading.Lock()


class ResidualNetwork(eqx.Module):
    """A small convolutional network that estimates the noise of images, `D(u, sigma) = u - N(u, sigma)`.

    3 x 3 convolutions with ReLU between them, edges repeated, no biases: the noise level enters as a second, constant
    channel, and `D(a u, a sigma) = a D(u, sigma)` for any a > 0 (bias-free denoisers: Mohan et al. 2020, ICLR; residual
    learning: Zhang et al. 2017, IEEE TIP 26, 3142; noise level as a channel: Zhang et al. 2018, IEEE TIP 27, 4608).

    Attributes
    ----------
    kernels : tuple of arrays of shape (out, in, 3, 3)
        One per layer; the first takes two channels, the last gives one.
    """

    kernels: tuple[Float[Array, "_ _ 3 3"], ...]

    def __call__(self, images: Images, sigma: float) -> Images:
        """Denoise images of shape (n, y, x) whose noise is white with standard deviation `sigma`."""
        layer = jnp.stack([images, jnp.full_like(images, sigma)], axis=1)
        for i, kernel in enumerate(self.kernels):
            if i > 0:
                layer = jax.nn.relu(layer)
            padded = jnp.pad(layer, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
            layer = jax.lax.conv_general_dilated(padded, kernel.astype(images.dtype), (1, 1), "VALID")
        return images - layer[:, 0]


@cache
def _weights() -> tuple[dict, tuple[np.ndarray, ...]]:
    """What the weights were trained on, and the weights."""
    path = resources.files("hifred.priors") / WEIGHTS
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        return about, tuple(file[f"kernel_{i}"] for i in range(len(file.files) - 1))


def trained() -> ResidualNetwork:
    """The network that comes with the package (`training/denoiser.py`), about 16,000 weights.

    It was trained on flux images and maps of principal spectra of simulated remnants and a cluster with white noise,
    in units of the noise. `trained_on` says on which.
    """
    return ResidualNetwork(tuple(jnp.asarray(kernel) for kernel in _weights()[1]))


def trained_on() -> dict:
    """Scenes and seeds that `trained` was trained on, range of photons, and the part of the noise that it leaves."""
    return dict(_weights()[0])


def bm3d_denoiser() -> Callable[[np.ndarray, float], np.ndarray]:
    """Block matching and 3D filtering (Dabov et al. 2007, IEEE TIP 16, 2080) of each image, by the package `bm3d`.

    That package is not installed along with this one, and its own licence asks for non-commercial use. Version 4.0.3
    takes half a second for an image of any small size: a rank of 4 or less keeps a fit within minutes.

    Returns
    -------
    function
        For `Denoiser(denoise=...)`; it runs on the host.

    Raises
    ------
    ModuleNotFoundError
        If `bm3d` is not installed.
    """
    try:
        filter_image = importlib.import_module("bm3d").bm3d
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"bm3d: expected this package to be installed (pip install bm3d), found that {error.name} is not",
            name=error.name,
        ) from None

    def bm3d(images: np.ndarray, sigma: float) -> np.ndarray:
        return np.stack([filter_image(np.asarray(image, float), sigma) for image in images])

    return bm3d


class UserFunction:
    """Anyone's `denoise(images, sigma)` made fit for compiled code.

    One that JAX can trace becomes part of the compiled step; any other is called on the host with numpy arrays. It
    should depend on its arguments alone. Two of these are equal where their functions are one, so that fits with the
    same function share what was compiled.

    Parameters
    ----------
    function : callable
        From an array of shape (n, y, x) and a float to an array of the same shape.
    shape : (n, y, x)
        Shape it will be called with.
    dtype : dtype
        Precision it will be called with.

    Raises
    ------
    ValueError
        If it returns something else than real numbers of that shape.
    """

    def __init__(self, function: Callable, shape: tuple[int, ...], dtype: DTypeLike):
        self.function = function
        self.traced = True
        struct = jax.ShapeDtypeStruct(shape, dtype)
        with _on_host:
            try:
                found = jax.eval_shape(lambda images: function(images, 1.0), struct)
            except Exception:  # whatever stops the tracing; a fault of the function's own shows on the host just below
                self.traced = False
                found = function(np.zeros(shape, dtype), 1.0)
        require_images(found, shape)

    def __call__(self, images: Images, sigma: float) -> Images:
        """Denoise images of shape (n, y, x)."""
        if self.traced:
            return jnp.asarray(self.function(images, sigma), images.dtype)

        def on_host(given):
            given = np.array(given)
            with _on_host:
                result = self.function(given, sigma)
            require_images(result, given.shape)
            return np.asarray(result, given.dtype)

        return jax.pure_callback(on_host, jax.ShapeDtypeStruct(images.shape, images.dtype), images)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UserFunction):
            return NotImplemented
        return other.function is self.function and other.traced == self.traced

    def __hash__(self) -> int:
        return id(self.function)


def made_fit(denoise: Callable, shape: tuple[int, ...], dtype: DTypeLike) -> Callable:
    """A denoiser for compiled code: modules of equinox as they are, anything else as a `UserFunction`.

    Arguments and errors are those of `UserFunction`.
    """
    if not issubclass(type(denoise), eqx.Module):
        return UserFunction(denoise, shape, dtype)
    struct = jax.ShapeDtypeStruct(shape, dtype)
    require_images(jax.eval_shape(lambda images: denoise(images, 1.0), struct), shape)
    return denoise


def require_images(found: object, shape: tuple[int, ...]) -> None:
    """Check what a denoiser returned.

    Raises
    ------
    ValueError
        If it is not an array of real numbers of the shape given.
    """
    like = found if isinstance(found, jax.ShapeDtypeStruct) else np.asarray(found)
    if like.shape != tuple(shape):
        raise ValueError(f"denoise: expected a function that returns an array of shape {shape}, found {like.shape}")
    if not np.issubdtype(like.dtype, np.floating) and not np.issubdtype(like.dtype, np.integer):
        raise ValueError(f"denoise: expected a function that returns real numbers, found {like.dtype}")
