"""Texts in an array of Python objects, read without running what the file says.

numpy keeps an object array, such as ``table["path"].values``, as a pickle, which may name any function. Here only its
instructions are read: lists, tuples, texts and numbers are put together, calls are recorded and never made.
"""

from __future__ import annotations

from pickletools import genops
from typing import Any

MARKER = object()
LIMIT = 50_000_000  # instructions


class Called:
    """What a call would have made: its arguments, and the state it would have been given."""

    def __init__(self, arguments: Any):
        self.arguments, self.state = arguments, None


def texts_of(content: bytes) -> list[str | bytes | int]:
    """The texts of a pickled object array of one dimension.

    Parameters
    ----------
    content : bytes
        The pickle, after the header of the .npy.

    Raises
    ------
    ValueError
        It is anything but such an array, or holds something other than texts, bytes and whole numbers.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for number, (operation, argument, _) in enumerate(genops(content)):
        if number > LIMIT:
            raise ValueError("more instructions than an array of ids has")
        name = operation.name
        if name == "STOP":
            break
        _do(name, argument, stack, memo)
    return _array_in(stack)


def _do(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    """One instruction of the pickle machine, without its calls."""
    if name in ("PROTO", "FRAME"):
        return
    if name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
        memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name == "MARK":
        stack.append(MARKER)
    elif name in ("NONE", "NEWTRUE", "NEWFALSE"):
        stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
    elif name in ("EMPTY_LIST", "EMPTY_TUPLE"):
        stack.append([] if name == "EMPTY_LIST" else ())
    elif name in ("TUPLE", "LIST"):
        items = _since_mark(stack)
        stack.append(tuple(items) if name == "TUPLE" else items)
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        stack[-count:] = [tuple(stack[-count:])]
    elif name in ("APPEND", "APPENDS"):
        items = _since_mark(stack) if name == "APPENDS" else [stack.pop()]
        stack[-1].extend(items)
    elif name == "GLOBAL":
        stack.append(Called(argument))
    elif name == "STACK_GLOBAL" or name in ("REDUCE", "NEWOBJ"):
        stack[-2:] = [Called(tuple(stack[-2:]))]
    elif name == "BUILD":
        state = stack.pop()
        if not isinstance(stack[-1], Called):
            raise ValueError("no array")
        stack[-1].state = state
    elif (
        name in ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4")
        or "UNICODE" in name
        or "BYTES" in name
        or name in ("BINSTRING", "SHORT_BINSTRING", "STRING")
    ):
        stack.append(argument)
    else:
        raise ValueError(f"the instruction {name} is none of an array of texts")


def _since_mark(stack: list[Any]) -> list[Any]:
    place = len(stack) - 1 - stack[::-1].index(MARKER)
    items = stack[place + 1 :]
    del stack[place:]
    return items


def _array_in(stack: list[Any]) -> list[str | bytes | int]:
    if len(stack) != 1 or not isinstance(stack[0], Called) or not isinstance(stack[0].state, tuple):
        raise ValueError("not an array")
    # numpy's own state of an array: version, shape, type, order, items.
    state = stack[0].state
    if len(state) != 5 or not isinstance(state[1], tuple) or not isinstance(state[4], list):
        raise ValueError("not an array of objects")
    shape, items = state[1], state[4]
    if shape not in ((len(items),), (len(items), 1), (1, len(items))):
        raise ValueError(f"an array of shape {shape}, not one id a row")
    for item in items:
        if type(item) not in (str, bytes, int):
            raise ValueError(f"it holds {type(item).__name__} values, not texts")
    return items
