"""A stand-in for the part of Ray that the engine calls: actors on machines with so many cores, which may die."""

from __future__ import annotations

import types
from collections.abc import Callable


class RayError(Exception):
    pass


class FakeRay:
    """Calls of actors are run when somebody waits for them: those that start first, then the latest.

    Parameters
    ----------
    cores, gpus : int
        Of the cluster: an actor without room runs nothing.
    dies : callable, optional
        Whether an actor dies in a call: given its number, the method's name and the arguments.
    """

    def __init__(self, cores: int = 2, gpus: int = 0, dies: Callable[..., bool] = lambda *call: False):
        self.cores, self.gpus, self.dies = cores, gpus, dies
        self.exceptions = types.SimpleNamespace(RayError=RayError)
        self.actors: list[_Actor] = []
        self.most = 0  # jobs that were under way at a time
        self.opened: dict = {}

    def is_initialized(self) -> bool:
        return bool(self.opened)

    def init(self, **options) -> None:
        self.opened = options

    def shutdown(self) -> None:
        self.opened = {}

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cores), "GPU": float(self.gpus)}

    def remote(self, num_cpus: int, num_gpus: int):
        return lambda kind: types.SimpleNamespace(remote=lambda *given: _Actor(self, kind(*given), num_cpus, num_gpus))

    def kill(self, actor: _Actor) -> None:
        actor.alive = False

    def placed(self) -> list[_Actor]:
        """Living actors that have room, first come, first served."""
        found, cores, gpus = [], self.cores, self.gpus
        for actor in self.actors:
            if actor.alive and actor.cores <= cores and actor.gpus <= gpus:
                found.append(actor)
                cores, gpus = cores - actor.cores, gpus - actor.gpus
        return found

    def wait(self, calls: list, num_returns: int, timeout: float) -> tuple[list, list]:
        assert calls, "waits for nothing, and so for ever"
        jobs = [call for call in calls if call.method == "run" and not call.done]
        self.most = max(self.most, len(jobs))
        placed = self.placed()
        for call in sorted(reversed(calls), key=lambda call: call.method == "run"):
            if call.done or not call.actor.alive or call.actor in placed:
                call.execute(self)
                return [call], [other for other in calls if other is not call]
        return [], calls

    def get(self, call: _Call):
        assert call.done, "would block"
        if call.error is not None:
            raise call.error
        return call.value


class _Actor:
    def __init__(self, ray: FakeRay, worker, cores: int, gpus: int):
        self.ray, self.worker, self.cores, self.gpus = ray, worker, cores, gpus
        self.alive, self.number = True, len(ray.actors)
        ray.actors.append(self)

    def __getattr__(self, method: str):
        return types.SimpleNamespace(remote=lambda *given: _Call(self, method, given))


class _Call:
    def __init__(self, actor: _Actor, method: str, given: tuple):
        self.actor, self.method, self.given = actor, method, given
        self.done, self.value, self.error = False, None, None

    def execute(self, ray: FakeRay) -> None:
        if self.done:
            return
        self.done = True
        if not self.actor.alive or ray.dies(self.actor.number, self.method, self.given):
            self.actor.alive = False
            self.error = RayError("The actor died unexpectedly before finishing this task.\nEnd of file.")
            return
        self.value = getattr(self.actor.worker, self.method)(*self.given)
