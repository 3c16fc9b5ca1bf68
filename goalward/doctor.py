"""Whether this installation and machine are in order, line by line, with what mends the rest."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from goalward import machine
from goalward.envs import trust
from goalward.errors import MachineError
from goalward.findings import PROBLEM, WARNING

GOOD = "good"
NAMED = ("jax", "jaxlib", "mujoco", "gymnasium", "equinox", "optax", "numpy")  # whose versions are told
LITTLE_MEMORY, LITTLE_DISK = 2e9, 1e9  # bytes
NVIDIA = Path("/proc/driver/nvidia/version")  # there where the driver of a GPU is


class Line(NamedTuple):
    """One thing that was looked at."""

    name: str
    state: str  # GOOD; WARNING, with which most works; PROBLEM, with which it does not
    told: str
    remedy: str = ""


def look(start_jax: Callable[[], None]) -> Iterator[Line]:
    """Look at all there is, one after the other. `start_jax` finds devices, and raises `MachineError`."""
    yield _packages()
    yield _mujoco()
    yield from _jax(start_jax)
    yield _cores()
    yield _memory()
    yield _graphics()
    yield _folder("this folder", Path.cwd(), "runs are written to it; go to another, or name one by --out")
    yield _folder(
        "state", trust.folder(), "files of environments that were named are kept there; set XDG_STATE_HOME"
    )
    yield _extras()


def _requirements(extra: str = "") -> list[Requirement]:
    """What this package asks for: always, or for an extra alone."""
    every = [Requirement(text) for text in metadata.requires("goalward") or []]
    always = [one for one in every if one.marker is None or one.marker.evaluate({"extra": ""})]
    if not extra:
        return always
    return [one for one in every if one.marker is not None and one.marker.evaluate({"extra": extra})
            and one not in always]  # fmt: skip


def _unmet(requirement: Requirement) -> str:
    """What is wrong with a package that is asked for; empty where nothing is."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    wanted = requirement.specifier
    return (
        "" if wanted.contains(version, prereleases=True) else f"{requirement.name} is {version}, not {wanted}"
    )


def _packages() -> Line:
    unmet = {f"{one.name}{one.specifier}": _unmet(one) for one in _requirements()}
    bad = {wanted: told for wanted, told in unmet.items() if told}
    versions = [f"{name} {metadata.version(name)}" for name in NAMED if not _unmet(Requirement(name))]
    ours = [f"Python {platform.python_version()}", f"goalward {metadata.version('goalward')}"]
    if bad:
        return Line("packages", PROBLEM, "; ".join(bad.values()), "pip install " + " ".join(map(repr, bad)))
    return Line("packages", GOOD, ", ".join(ours + versions))


def _mujoco() -> Line:
    """MuJoCo comes in several packages, of which an interrupted upgrade leaves some behind."""
    try:
        from goalward.envs.mujoco import models

        loaded = models.library_version()
    except Exception as error:  # whatever a library that does not fit its module raises
        return Line("MuJoCo", PROBLEM, f"it cannot be loaded: {error}", _REINSTALL)
    parts = {}
    for name in ("mujoco", "mujoco-core", "mujoco-studio"):
        try:
            parts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    told = ", ".join(f"{name} {version}" for name, version in parts.items())
    if {loaded, *parts.values()} != {loaded}:
        return Line("MuJoCo", PROBLEM, f"parts of two versions: library {loaded}, {told}", _REINSTALL)
    return Line("MuJoCo", GOOD, f"all of version {loaded}")


_REINSTALL = "pip uninstall mujoco mujoco-core mujoco-studio, then pip install mujoco"


def _jax(start_jax: Callable[[], None]) -> Iterator[Line]:
    """Devices, and the folder where compiled programs are kept."""
    try:
        start_jax()
    except MachineError as error:
        yield Line("devices", PROBLEM, str(error))
        return
    import jax

    kinds = [device.device_kind for device in jax.devices()]
    told = ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))
    if jax.default_backend() == "cpu" and NVIDIA.exists():
        remedy = 'pip install "jax[cuda13]"; nothing here was measured on a GPU yet'
        yield Line("devices", WARNING, f"{told}, though there is a GPU of NVIDIA", remedy)
    else:
        yield Line("devices", GOOD, told)
    folder = jax.config.values["jax_compilation_cache_dir"]
    if folder is None or not jax.config.values["jax_enable_compilation_cache"]:
        yield Line(
            "compiled programs", WARNING, "they are not kept", "set JAX_COMPILATION_CACHE_DIR to a folder"
        )
    else:
        yield _folder("compiled programs", Path(folder), "set JAX_COMPILATION_CACHE_DIR to another")


def _cores() -> Line:
    ours, all_of_them = machine.cores(), os.cpu_count() or 1
    told = f"{ours} for this process" if ours == all_of_them else f"{ours} of {all_of_them} for this process"
    return Line("cores", GOOD, told)


def _memory() -> Line:
    free = machine.free_memory()
    told = f"{free / 1e9:.1f} GB free"
    if free < LITTLE_MEMORY:
        return Line("memory", WARNING, told, "`goalward plan ENV` says what a run takes; close what else runs")
    return Line("memory", GOOD, told)


def _graphics() -> Line:
    """Whether pictures of bodies can be drawn."""
    try:
        from goalward.envs.mujoco import render

        return Line("pictures", GOOD, f"of bodies, drawn by {render.drawn_by()}, without a display")
    except MachineError as error:
        return Line("pictures", WARNING, str(error))
    except Exception as error:  # MuJoCo's own line says why
        return Line("pictures", WARNING, f"none, as MuJoCo cannot be loaded: {error}")


def _folder(name: str, folder: Path, remedy: str) -> Line:
    """Whether a folder, or what it would be made in, can be written to, and has room."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"goalward")
    except OSError as error:
        return Line(name, PROBLEM, f"{there} cannot be written to: {error.strerror}", remedy)
    free = shutil.disk_usage(there).free
    told = f"{folder}, {free / 1e9:.1f} GB free"
    return Line(
        name, GOOD if free > LITTLE_DISK else WARNING, told, "" if free > LITTLE_DISK else "free some space"
    )


def _extras() -> Line:
    """Extras that are there, and how the others come."""
    names = metadata.metadata("goalward").get_all("Provides-Extra") or []
    there = [name for name in names if not any(map(_unmet, _requirements(name)))]
    missing = [name for name in names if name not in there]
    told = f"with {', '.join(there) or 'none'}; without {', '.join(missing) or 'none'}"
    return Line(
        "extras", GOOD, told, f'pip install "goalward[{",".join(missing)}]" brings them' if missing else ""
    )
