"""Joining a Ray cluster, or starting one on this machine that nobody else can use."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from embcomp.engines.base import THREAD_VARIABLES
from embcomp.engines.local import available_cores
from embcomp.errors import ConfigError, EmbcompError
from embcomp.extras import imported

OBJECTS = 100 * 2**20  # bytes of Ray's store of objects, through which nothing but JSON goes
ANSWERING = 30  # seconds that a cluster may take to answer
LONGEST_FOLDER = 40  # characters: sockets lie below it, whose paths may have no more than 107
# Ray's own settings for a cluster that is started here: it tells nobody that it is used, listens on this machine alone,
# and answers those alone who know its token. Its workers have the priority of the local engine's, and do not give way to
# every other process, as they do by default.
PRIVATE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
}


def load_ray(private: bool) -> ModuleType:
    """The package; `private` is for a cluster that is started here, which Ray reads when it is imported.

    Raises
    ------
    MissingDependencyError
        It is not installed, or does not import.
    """
    if private and "ray" not in sys.modules:
        os.environ.update({**PRIVATE, "RAY_AUTH_TOKEN": secrets.token_hex(16)})
    return imported("ray", "the engine ray needs the package", extra="ray")


def check_address(address: str) -> str:
    """What ``RAY_ADDRESS`` holds, if a cluster may be there; ``local`` where it is empty.

    Raises
    ------
    ConfigError
        It is no ``HOST:PORT``, or nothing answers there.
    """
    if address in ("", "local", "auto"):
        return address or "local"
    mend = "give HOST:PORT of `ray start --head`, or unset RAY_ADDRESS to use this machine alone"
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"RAY_ADDRESS is {address!r}, which is no HOST:PORT; {mend}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERING).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"RAY_ADDRESS is {address!r}, where nothing answers ({reason}); {mend}") from None
    return address


def _check_health(address: str) -> None:
    """Refuse an address where something else answers, or a cluster that does not know us: Ray would wait for minutes."""
    # The same request as `ray health-check`, from a process that can be ended.
    code = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, address], capture_output=True, timeout=ANSWERING, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as late:
        failed, said = True, late.stderr or b""
    else:
        failed, said = done.returncode != 0, done.stderr
    if failed:
        token = "token" in said.decode("utf-8", "replace").lower()
        reason = (
            "it asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            if token
            else f"what answers there is no Ray cluster of this version, or is too slow ({ANSWERING} s)"
        )
        raise ConfigError(f"RAY_ADDRESS is {address!r}, which cannot be used: {reason}")


def session_folder() -> Path:
    """A new folder for what a cluster on this machine keeps while it runs, readable by its user alone."""
    short = len(tempfile.gettempdir()) <= LONGEST_FOLDER
    return Path(tempfile.mkdtemp(prefix="embcomp-ray-", dir=None if short else "/tmp"))


@contextlib.contextmanager
def joined(ray: ModuleType, address: str, workers: int, threads: int) -> Iterator[None]:
    """While it lasts, Ray is connected to the cluster at `address`, which may be ``local``.

    Parameters
    ----------
    ray : module
    address : str
        From `check_address`.
    workers, threads : int
        A cluster that is started here has cores for so many workers of so many threads, and at least those of this
        machine.

    Raises
    ------
    EmbcompError
        It cannot be joined or started; with what Ray says.
    """
    if ray.is_initialized():  # by the caller of this library, whose cluster it stays
        yield
        return
    environment, folder = dict.fromkeys(THREAD_VARIABLES, str(threads)), None
    options: dict[str, Any] = {}
    if address == "local":
        folder = session_folder()
        environment["PYTHONPATH"] = os.pathsep.join(part for part in sys.path if part)
        options["num_cpus"] = max(available_cores(), workers * threads)
        options |= {"include_dashboard": False, "object_store_memory": OBJECTS, "_temp_dir": str(folder)}
    elif address != "auto":
        _check_health(address)
    try:
        _start(ray, address, runtime_env={"env_vars": environment}, **options)
        with _quiet(ray):
            yield
    finally:
        with contextlib.suppress(Exception):  # the cluster may be gone
            ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _start(ray: ModuleType, address: str, **options: Any) -> None:
    own = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        what = "Ray does not start on this machine" if address == "local" else f"cannot join the Ray cluster {address}"
        raise EmbcompError(f"{what}: {reason}") from error
    finally:
        if own:  # Ray takes this signal for itself, and would end the process without a word
            signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _quiet(ray: ModuleType) -> Iterator[None]:
    """Ray prints on standard output, among the results, that a worker has died: the engine says what comes of it."""
    module = getattr(getattr(ray, "_private", None), "worker", None)
    show = getattr(module, "print_to_stdstream", None)
    if show is None:
        yield
        return
    module.print_to_stdstream = lambda *given, **more: None
    try:
        yield
    finally:
        module.print_to_stdstream = show
