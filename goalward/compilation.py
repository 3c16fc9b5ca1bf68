"""Compiled programs, kept on disk from one process to the next."""

from contextlib import suppress


def use_compilation_cache() -> None:
    """Keep compiled programs on disk for the next run, in the user's cache folder or where JAX is told to.

    `JAX_COMPILATION_CACHE_DIR` names another folder, `JAX_ENABLE_COMPILATION_CACHE=false` turns it off.
    """
    import jax
    from platformdirs import user_cache_path

    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    folder = user_cache_path("goalward") / "jax"
    if not folder.is_absolute():  # a user without a home: "~" stands for itself
        return
    with suppress(OSError):  # no such folder can be made: programs are compiled each time
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
