"""What JAX compiles is kept from one run of the program to the next: compiling takes as long as many a fit."""

import os
import platform
from pathlib import Path

import jax
import platformdirs

# What takes less to compile, in seconds, is not kept; JAX's own 1 leaves much of it out.
LEAST = 0.3


def keep_compiled() -> None:
    """Let JAX keep compiled code in the user's cache folder; to be called before anything is compiled.

    A folder that the environment names, be it none (`JAX_COMPILATION_CACHE_DIR=`), stays. Each host has its own: what
    is compiled for one processor may not run on another. Where no folder can be written nothing is kept.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = Path(platformdirs.user_cache_dir("hifred", appauthor=False), "compiled", platform.node() or "host")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST)
