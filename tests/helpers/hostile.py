"""What tests of files from somebody who means harm share."""

from __future__ import annotations

import contextlib
import resource
import struct
import time


@contextlib.contextmanager
def harmless(planted, seconds=10.0, megabytes=300):
    """What the block does is quick, takes little memory, and does not set off the plant."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert not planted.exists()
    assert time.process_time() - start < seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < megabytes << 10


def npy(shape, descr="'<f4'", version=1):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - len(text) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text
