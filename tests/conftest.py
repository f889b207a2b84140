import gc
import os
import signal
from itertools import pairwise
from pathlib import Path

import equinox as eqx
import hypothesis
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

# Examples are small as they are drawn: shrinking a failure would compile for minutes.
hypothesis.settings.register_profile(
    "hifred", deadline=None, max_examples=12, derandomize=True, database=None, phases=[hypothesis.Phase.generate]
)
hypothesis.settings.load_profile("hifred")

# At these sizes compiling takes longer than running; what one worker or command has compiled, no other compiles again.
jax.config.update("jax_disable_most_optimizations", True)
COMPILED = {
    "jax_compilation_cache_dir": str(Path(__file__).parents[1] / ".pytest_cache" / "jax"),
    "jax_persistent_cache_min_compile_time_secs": 0.2,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
for name, value in COMPILED.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)

# What a shell starts in the background ignores Ctrl-C, and so does all that it starts in turn; tests are of those who do not.
signal.signal(signal.SIGINT, signal.default_int_handler)

DOT_TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


# Compiled whole: op by op, each new shape would compile each operation.
_both = eqx.filter_jit(lambda operator, x, y: (operator.mv(x), operator.T.mv(y)))
_forward = eqx.filter_jit(lambda operator, x: operator.mv(x))
_columns = eqx.filter_jit(lambda operator, units: jax.vmap(operator.mv)(units))


# To look for garbage again and again, in what is imported too, takes a tenth of the time: not while tests are collected,
# and seldom while JAX traces. (So a warning of a file left open may come in a later test.)
gc.disable()
# Files that take longest begin first, so that workers end together.
LONGEST = (
    "test_factors",
    "test_demo",
    "test_examples",
    "test_extremes",
    "test_tuning",
    "test_fusion",
    "test_checkpoint",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_sessionstart(session):
    if getattr(session.config.option, "numprocesses", None):
        gc.enable()  # the process that only hands out tests collects none


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    gc.enable()


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked():
    """Annotations unchecked for one test, to reach the checks of the package itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared_data():
    """Path of a file of the shared data; skips where it is absent."""
    folder = os.environ.get("HIFRED_SHARED_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")

    def find(name):
        path = Path(folder).resolve() / name
        if not path.exists():
            pytest.skip(f"no shared data: {path} is absent (set HIFRED_SHARED_DATA)")
        return path

    return find


@pytest.fixture(scope="session")
def assert_dot():
    """`<A x, y> = <x, A' y>` relative to `|A x| |y|`, in the precision of `dtype`."""

    def check(operator, dtype=np.float32, seed=0):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=operator.in_shape).astype(dtype)
        y = rng.normal(size=operator.out_shape).astype(dtype)
        forward, back = _both(operator, jnp.asarray(x), jnp.asarray(y))
        assert forward.shape == operator.out_shape
        assert back.shape == operator.in_shape
        assert forward.dtype == back.dtype == np.dtype(dtype)
        x, y, forward, back = (np.asarray(a, float) for a in (x, y, forward, back))
        size = np.linalg.norm(forward) * np.linalg.norm(y)
        assert abs((forward * y).sum() - (x * back).sum()) <= DOT_TOLERANCE[np.dtype(dtype).name] * size

    return check


@pytest.fixture(scope="session")
def apply():
    """`mv` of an operator on a numpy array, compiled whole."""
    return lambda operator, x: np.asarray(_forward(operator, jnp.asarray(x)))


@pytest.fixture(scope="session")
def as_matrix():
    """Dense matrix of an operator, from unit vectors, in double precision."""

    def matrix(operator, dtype=np.float32):
        size = int(np.prod(operator.in_shape))
        units = jnp.asarray(np.eye(size, dtype=dtype).reshape(size, *operator.in_shape))
        return np.asarray(_columns(operator, units), float).reshape(size, -1).T

    return matrix


@pytest.fixture(scope="session")
def assert_never_rises():
    """The objective of a history never rises by more than the rounding of its sum over bins."""

    def check(history, rounding=1e-6):
        for before, after in pairwise(history):
            half = 0.5 * np.sum(after.cstat)
            # The terms of the sum are differences of numbers as large as the counts.
            scale = half + abs(after.prior_term) + 0.01 * abs(after.data_term - half) + 1
            assert after.objective - before.objective <= rounding * scale, (before, after)

    return check


@pytest.fixture(scope="session")
def instruments():
    """Kernels of two small instruments, one sharp in space and one in energy, each with both blurs."""
    shape = (24, 12, 12)
    taps = np.arange(-9, 10)
    offsets = np.hypot(*np.mgrid[-2:3, -2:3])
    camera = {"lsf": np.exp(-0.5 * (taps / 4) ** 2), "psf": np.exp(-2 * offsets[1:4, 1:4] ** 2), "rebin": (3, 1, 1)}
    calorimeter = {"psf": np.exp(-0.5 * (offsets / 1.2) ** 2), "lsf": np.exp(-2 * taps[8:11] ** 2), "rebin": (1, 3, 3)}
    return shape, {"camera": camera, "calorimeter": calorimeter}


@pytest.fixture(scope="session")
def sky():
    """A small sky of three spectra, with two lines that live in different places; about 1e5 photons."""

    def make(shape, photons=1e5):
        energy = np.linspace(0, 1, shape[0])[:, None, None]
        y, x = np.mgrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
        left = np.exp(-((x + 0.4) ** 2 + y**2) / 0.2)
        right = np.exp(-((x - 0.4) ** 2 + (y - 0.2) ** 2) / 0.15)
        lines = [np.exp(-0.5 * ((energy - at) / 0.05) ** 2) for at in (0.3, 0.7)]
        cube = 0.1 + np.exp(-energy) * (left + right) + 3 * lines[0] * left + 2 * lines[1] * right
        return photons * cube / cube.sum()

    return make


@pytest.fixture(scope="session")
def observe():
    """Mock data sets of a cube from kernels of several instruments."""
    from hifred import Dataset, Response

    def make(cube, kernels, seed=0, **options):
        rng = np.random.default_rng(seed)
        out = []
        for name, arguments in kernels.items():
            response = Response.from_kernels(cube.shape, **arguments, **options)
            out.append(Dataset(np.zeros(response.out_shape), response, name=name).sample(cube, rng))
        return out

    return make
