"""Processes that do one job together: what is said of them, here; that they do it, in tests/distributed."""

from __future__ import annotations

import pytest

from embcomp.engines.together import _environment, _raise_failure, own_rank, started_together
from embcomp.errors import EmbcompError, StoreError

LOST = {"kind": "ProcessLostError", "error": "another process has ended"}


def test_the_reason_is_told_and_not_what_followed_from_it():
    _raise_failure({0: {"result": 1}, 1: {"result": 2}}, 2)
    with pytest.raises(StoreError, match="row 1 is bad"):
        _raise_failure({0: LOST, 1: {"kind": "StoreError", "error": "row 1 is bad"}}, 2)
    died = {"kind": "EmbcompError", "error": "a worker process died (exit code -9); run again to go on", "died": True}
    with pytest.raises(
        EmbcompError, match=r"process 2 of 2 of the training died: .*exit code -9.* from the last checkpoint"
    ):
        _raise_failure({0: LOST, 1: died}, 2)
    with pytest.raises(EmbcompError, match="another process has ended"):
        _raise_failure({0: LOST}, 2)


def test_a_process_knows_that_it_is_one_of_several(monkeypatch, tmp_path):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "EMBCOMP_MEETING"):
        monkeypatch.delenv(name, raising=False)
    assert (started_together(), own_rank()) == (1, 0)
    monkeypatch.setenv("WORLD_SIZE", "4")  # of a scheduler that started one process
    assert (started_together(), own_rank()) == (1, 0)
    for name, value in _environment(2, 3, tmp_path / "meeting").items():
        monkeypatch.setenv(name, value)
    assert (started_together(), own_rank()) == (3, 2)
    monkeypatch.delenv("EMBCOMP_MEETING")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # as torchrun does
    assert (started_together(), own_rank()) == (3, 2)
