"""Checks that all metrics share."""

import numpy as np


def as_cube(values, name):
    """Float64 (energy, y, x) array, or a ValueError that names the argument."""
    cube = np.asarray(values, dtype=np.float64)
    if cube.ndim != 3:
        raise ValueError(f"{name} must have three axes (energy, y, x), found shape {cube.shape}")
    if not np.all(np.isfinite(cube)):
        raise ValueError(f"{name} must be finite, found nan or infinity")
    return cube


def as_pair(result, truth):
    """Two cubes of one shape."""
    result, truth = as_cube(result, "result"), as_cube(truth, "truth")
    if result.shape != truth.shape:
        raise ValueError(f"result must have the shape of truth {truth.shape}, found {result.shape}")
    return result, truth
