"""Files changed at random, read by what must refuse them in words and write, start and unpickle nothing."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from embcomp.errors import EmbcompError

# EMBCOMP_FUZZ_CASES=10000 pytest tests/faults/test_fuzz.py tests/faults/test_fuzz_tables.py
EXAMPLES = pytest.mark.parametrize("examples", [int(os.environ.get("EMBCOMP_FUZZ_CASES", "0")) or 0])
WATCHED: list[list[str]] = []
WRITES = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
    "shutil.",
)
STARTS = ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.", "pickle.find_class")


def hook(event, arguments):
    """Notes every write and every start while a reader is watched; an audit hook cannot be taken away again."""
    if not WATCHED:
        return
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        # O_WRONLY and O_RDWR are 1 and 2.
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (mode is None and flags & 3):
            WATCHED[-1].append(f"open {arguments[0]}")
    elif event.startswith((*WRITES, *STARTS)):
        WATCHED[-1].append(f"{event} {arguments}")


@contextlib.contextmanager
def watched():
    WATCHED.append([])
    try:
        yield WATCHED[-1]
    finally:
        WATCHED.pop()


JSON = st.recursive(
    st.sampled_from([None, True, False, 0, -1, 1, 2, 3, 2**31, 2**63, 10**30, 0.5, -1e300, "", "x", "../../x", "/etc/passwd", "\0", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "kind", "frames", "0"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
PLACES = st.lists(st.floats(0, 0.999), min_size=1, max_size=4)
# Bytes that mean something to one of the formats, and any others.
PIECES = st.sampled_from([b"", b'"', b",", b"\n", b"\r", b"|", b"?", b"\0", b"\xff", b"\xef\xbb\xbf", b"[", b"{", b"}", b"=", b"'", b"#", b"\\u0000", b"-1", b"1e999", b"nan", b"../", b"999999999999"]) | st.binary(max_size=8)  # fmt: skip


@st.composite
def bytes_changed(draw, whole):
    """Some pieces put in, taken out or written over, or the end cut off."""
    content = bytearray(whole)
    for share in draw(PLACES):
        place = int(share * (len(content) + 1))
        length = draw(st.sampled_from([0, 0, 1, 1, 2, 4, 8, 10**9]))
        content[place : place + length] = draw(PIECES)
    return bytes(content)


@st.composite
def tree_changed(draw, tree):
    """A few leaves or branches of nested tables replaced, taken out or doubled."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 3))):
        node, path = tree, []
        while isinstance(node, (dict, list)) and len(node) and (not path or draw(st.booleans())):
            path.append(node)
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = draw(st.sampled_from(keys))
            node = node[key]
        if path:
            value = draw(st.just(Ellipsis) | JSON)
            if value is Ellipsis:
                del path[-1][key]
            else:
                path[-1][key] = value
    return tree


def seeded(examples: int) -> settings:
    """So many cases, the same in every run, and none shrunk."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def fuzz(examples, cases, read, make=None, both=True, usual=100):
    """Read so many cases; only EmbcompErrors may come, and nothing may be written or started.

    Parameters
    ----------
    cases : strategy
    read : callable
        Takes a case that `make`, unwatched, has laid on disk.
    both : bool, default=True
        Whether some cases must be read, and some refused.
    usual : int, default=100
        Cases where `examples` is 0.
    """
    counts = {"read": 0, "refused": 0}
    examples = examples or usual

    @seeded(examples)
    @given(cases)
    def every(case):
        if make is not None:
            make(case)
        with watched() as seen:
            try:
                read(case)
                counts["read"] += 1
            except EmbcompError as error:
                assert str(error)
                counts["refused"] += 1
        assert seen == []

    started = time.perf_counter()
    every()
    sys.stderr.write(f"{counts} in {time.perf_counter() - started:.1f} s\n")  # shown by pytest -rP
    if both:
        assert counts["refused"] > 0 and counts["read"] > 0
    assert sum(counts.values()) >= 0.9 * examples


def rewriting(folder):
    """Lays the one changed file of a case into `folder`, the others as they were."""
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}

    def make(case):
        for name, content in whole.items():
            (folder / name).write_bytes(content)
        (folder / case[0]).write_bytes(case[1])

    return make
