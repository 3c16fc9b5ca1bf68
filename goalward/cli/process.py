"""A process and the system around it: its variables, its output, JAX and its devices, signals."""

import _thread
import atexit
import io
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, NoReturn, TextIO, cast

from goalward.compilation import use_compilation_cache
from goalward.errors import MachineError

# What a shell may set for other programs, and would change numbers, types or pictures: commands do not heed it.
UNHEEDED = (
    "MPLBACKEND",
    *(
        f"JAX_{name}"
        for name in (
            "CHECK_TRACER_LEAKS", "DEBUG_INFS", "DEBUG_KEY_REUSE", "DEBUG_NANS", "DEFAULT_MATMUL_PRECISION",
            "DEFAULT_PRNG_IMPL", "DISABLE_JIT", "ENABLE_CUSTOM_PRNG", "ENABLE_X64", "EXPLICIT_X64_DTYPES",
            "HIGH_DYNAMIC_RANGE_GUMBEL", "LEGACY_PRNG_KEY", "NO_EXECUTION", "NO_TRACING",
            "NUMPY_DTYPE_PROMOTION",
            "NUMPY_RANK_PROMOTION", "RANDOM_SEED_OFFSET", "SOFTMAX_CUSTOM_JVP", "THREEFRY_PARTITIONABLE",
            "TRANSFER_GUARD",
        )
    ),
)  # fmt: skip


def own_process() -> None:
    """Drop variables that are for other programs, and let output take any text. Not for a caller's process."""
    for name in UNHEEDED:
        os.environ.pop(name, None)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # neither closed nor replaced
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def heard_interrupts() -> Iterator[None]:
    """Send a Ctrl-C again that came where nobody hears it: a callback of the garbage collector, as XLA has."""
    main, listening = threading.get_ident(), True

    def again() -> None:
        time.sleep(0.1)  # in the hook it would be lost too
        if listening:
            signal.pthread_kill(main, signal.SIGINT)

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _thread.start_new_thread(again, ())  # what `threading` locks may be held
        else:
            before(unraisable)

    before, sys.unraisablehook = sys.unraisablehook, hook
    try:
        yield
    finally:
        listening, sys.unraisablehook = False, before


def end_now(code: int) -> NoReturn:
    """End this process and what it has started. An orderly exit would take down threads of XLA at work."""
    atexit._run_exitfuncs()  # among them those that end processes of worlds
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(code)


def start_jax(platform: str | None = None) -> None:
    """Load JAX and find its devices. Raises `MachineError`, with the variables that may be why.

    A `platform` restricts this process to its devices, and none that it starts.
    """
    try:
        import jax

        if platform is not None:
            jax.config.update("jax_platforms", platform)
        jax.devices()
    except Exception as error:  # whatever it meets: for a GPU that is not there an AssertionError
        found = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("JAX_")]
        remedy = (
            f"of its variables are set: {', '.join(found)}; unset what is wrong" if found else "reinstall it"
        )
        told = " ".join(str(error).split()) or type(error).__name__
        raise MachineError(f"JAX does not start ({told}); {remedy}") from error
    use_compilation_cache()


@contextmanager
def heedless_output() -> Iterator[None]:
    """Go on when output cannot be written: `| tee` ends at a Ctrl-C before training has saved."""
    with ExitStack() as stack:
        for redirect, stream in ((redirect_stdout, sys.stdout), (redirect_stderr, sys.stderr)):
            if stream is not None:  # closed before the start
                stack.enter_context(redirect(cast(TextIO, _Heedless(stream))))
        yield


class _Heedless:
    """A stream that goes on when nobody reads it any more or its disk is full: what is written then is lost."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose, a text."""
        with self._losing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand what is written to the system."""
        with self._losing():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what is still in buffers goes there too
            os.close(nowhere)


@contextmanager
def stop_signals(what: str = "stopping after this iteration") -> Iterator[Callable[[], bool]]:
    """Catch the first Ctrl-C or SIGTERM as a wish to stop, and say `what`; a second ends the process at once.

    Python calls its handlers between two of its own instructions, and an iteration may be one for minutes. So a
    thread reads what the signals themselves leave in a socket, and the handlers do nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals go to the main thread, and to whoever runs there
        return
    names = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else started with nohup
        names.append(signal.SIGHUP)
    wish = threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    handlers = {name: signal.signal(name, lambda *_: None) for name in names}
    watcher = threading.Thread(target=_watch, args=(reader, names, wish, what), daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield wish.is_set
    finally:
        signal.set_wakeup_fd(before)
        for name, old in handlers.items():
            signal.signal(name, old)
        writer.close()  # ends the watcher
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, names: list[signal.Signals], wish: threading.Event, what: str) -> None:
    """Set `wish` at the first of the signals `names`; end the process at the second, whatever it is doing."""
    while data := reader.recv(1):
        if data[0] not in names:
            continue
        if wish.is_set():
            _tell_now("interrupted\n")
            os._exit(128 + data[0])  # as `end_now`, whatever others hold
        wish.set()
        _tell_now(f"\n{what}; once more to stop at once\n")


def _tell_now(message: str) -> None:
    """Write to standard error if it takes it at once: past Python's locks, which another thread may hold."""
    with suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, message.encode())
