"""Saved models on Hugging Face's hub, as methods of their classes."""

from __future__ import annotations

import os
from typing import Self

from embcomp.card.facts import UNKNOWN


class OnHub:
    """Gives a class with ``save(path)`` and ``load(path)`` the hub's two methods."""

    def push_to_hub(
        self, repository: str, *, private: bool = False, license: str = UNKNOWN, token: str | None = None
    ) -> str:
        """Upload to Hugging Face's hub, with a model card; see `embcomp.storage.hub.push`.

        Parameters
        ----------
        repository : str
            ``owner/name``; it is made if it does not exist.
        license : str
            Identifier as the hub has them.

        Returns
        -------
        str
            Address of the commit.
        """
        from embcomp.card.writing import card_of
        from embcomp.storage.hub import push

        name = repository.rpartition("/")[2]
        return push(
            self.save, repository, lambda folder: card_of(folder, None, license, name), private=private, token=token
        )

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, *, revision: str | None = None, token: str | None = None) -> Self:
        """Load from a folder here, or from Hugging Face's hub by ``owner/name``; see `load`."""
        from embcomp.storage.hub import pull

        return cls.load(pull(name, revision=revision, token=token))
