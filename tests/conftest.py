"""Settings that hold for all tests; they must be made before anything imports JAX or goalward."""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
# Two devices, so that the tests of sharding run on any machine; the second flag compiles three times as fast.
FLAGS = "--xla_force_host_platform_device_count=2 --xla_cpu_use_fusion_emitters=false"
# Commands run in processes of their own share what they compile, in this run of the tests alone.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="goalward-cache-")
atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
# What a person named on this account says nothing here, and what tests name nothing there.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="goalward-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import optax  # noqa: E402
import pytest  # noqa: E402

jaxtyping.install_import_hook("goalward", "beartype.beartype")  # every annotated shape is checked

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests compile many small programs and run each for a moment.
jax.config.update("jax_disable_most_optimizations", True)
# A stale entry could hide a change of the code.
jax.config.update("jax_enable_compilation_cache", False)


def _with_standard_promotion(function):
    def relaxed(*args, **kwargs):
        with jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return relaxed


# Adam's bias correction raises a Python float to an int32 array, which strict promotion forbids.
optax.tree.bias_correction = _with_standard_promotion(optax.tree.bias_correction)

# Every compiled program maps memory, and a process may have 65,530 maps on Linux: beyond, the compiler crashes.
MOST_MAPS = 35_000
MAPS = Path("/proc/self/maps")


@pytest.fixture(scope="module", autouse=True)
def _programs_are_forgotten_in_time():
    """Behind each file of tests, where there are many of them."""
    yield
    if MAPS.exists() and len(MAPS.read_text().splitlines()) > MOST_MAPS:
        jax.clear_caches()
        gc.collect()
