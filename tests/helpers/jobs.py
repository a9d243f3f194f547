"""Functions for worker processes, which import this module by its name."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

from embcomp.errors import StoreError


def square(number):
    return number * number


def process_id(number):
    time.sleep(0.2)
    return os.getpid()


def fails(number):
    if number == 1:
        raise StoreError("row 1 is bad")
    return number


def dies(number):
    os._exit(9)


def chatters(number):
    os.write(1, b"a library prints what it likes\n")
    return number


def writes_and_waits(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


def hungry(number):
    resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
    return len(bytearray(1 << 30))


def hungry_tensor(number):
    import torch

    resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
    return torch.zeros(1 << 30).numel()


def hangs(number):
    time.sleep(60 if number == 1 else 0)
    return number


def wrong(number):
    raise KeyError("a mistake")


def killed_once(number, folder):
    """Killed in the middle, the first time that it is given number 1."""
    mark = Path(folder, str(number))
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def always_killed(number):
    os.kill(os.getpid(), signal.SIGKILL)


def node_and_process(number):
    import ray

    time.sleep(0.5)
    return [ray.get_runtime_context().get_node_id(), os.getpid()]


def sum_branch_killed_once(plan, folder, start, stop):
    """`embcomp.compression.spread.sum_branch`, killed in the middle of the first job."""
    from embcomp.compression.spread import sum_branch

    mark = Path(folder).parent / "killed"
    if start and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return sum_branch(plan, folder, start, stop)
