"""A small text encoder: hashed words and character n-grams, averaged, then a perceptron."""

from __future__ import annotations

import os
import re
import unicodedata
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from embcomp.errors import ArtifactError, DataError
from embcomp.storage.artifact import check_tensors, load_artifact, save_artifact

WORD = re.compile(r"[^\W_]+")
SHORTEST, LONGEST = 3, 5  # characters of an n-gram


def tokens(text: str) -> list[str]:
    """Words, pairs of neighbouring words, and the character n-grams of each word with its ends marked.

    N-grams as in fastText (Bojanowski et al. 2017, arXiv 1607.04606): a word never met shares some
    with its relatives. Case, width and ligatures of characters are not distinguished; everything but letters and
    digits parts words.

    Examples
    --------
    >>> tokens("Sea_wave")[:6]
    ['<sea>', '<wave>', 'sea wave', '<se', 'sea', 'ea>']
    """
    words = WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    marked = [f"<{word}>" for word in words]
    pairs = [f"{first} {second}" for first, second in zip(words, words[1:])]
    grams = [
        word[start : start + size]
        for word in marked
        for size in range(SHORTEST, min(LONGEST, len(word) - 1) + 1)
        for start in range(len(word) - size + 1)
    ]
    return marked + pairs + grams


class TextEncoder(nn.Module):
    """Embed short texts.

    There is no vocabulary to learn or keep: each token's checksum is its row of the table, so that two
    tokens may share one. Beyond pairs of words, their order is not seen.

    Parameters
    ----------
    width : int, default=64
        Of the embedding.
    channels : int, default=64
        Of a token.
    hidden : int, default=128
    buckets : int, default=4096
        Rows of the table.

    Shape
    -----
    Sequence of n str to ``(n, width)``.

    Examples
    --------
    >>> TextEncoder(width=8)(["a dog barks", "rain"]).shape
    torch.Size([2, 8])
    """

    def __init__(self, width: int = 64, channels: int = 64, hidden: int = 128, buckets: int = 4096):
        super().__init__()
        self.sizes = {"width": width, "channels": channels, "hidden": hidden, "buckets": buckets}
        self.table = nn.EmbeddingBag(buckets, channels, mode="mean")
        self.project = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def rows(self, text: str) -> list[int]:
        """Rows of the table that a text's tokens have.

        Raises
        ------
        DataError
            There is neither a letter nor a digit in it.
        """
        found = tokens(text)
        if not found:
            raise DataError(f"the text {text!r} holds no word; write the sound in words")
        return [zlib.crc32(token.encode()) % self.sizes["buckets"] for token in found]

    def forward(self, texts: Sequence[str]) -> Tensor:
        if isinstance(texts, str):
            raise DataError(f"a list of texts is needed, not the single text {texts!r}; put it in [ ]")
        if not len(texts):
            return self.table.weight.new_zeros(0, self.sizes["width"])
        bags = [self.rows(text) for text in texts]
        starts = torch.tensor([0, *map(len, bags[:-1])]).cumsum(0)
        device = self.table.weight.device
        return self.project(self.table(torch.tensor(sum(bags, []), device=device), starts.to(device)))

    def save(self, path: str | os.PathLike) -> None:
        """Write an artifact folder."""
        save_artifact(path, "text encoder", {"sizes": self.sizes}, self.state_dict())

    @classmethod
    def load(cls, path: str | os.PathLike) -> TextEncoder:
        """Read an artifact folder; in evaluation mode, on the CPU.

        Raises
        ------
        ArtifactError
            Missing, damaged, or not a text encoder.
        """
        config, weights = load_artifact(path, "text encoder")
        try:
            sizes = {name: int(size) for name, size in config["sizes"].items()}
            with torch.device("meta"):
                expected = cls(**sizes).state_dict()
        except (KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path}/config.json is damaged ({error}); train the text encoder again") from None
        check_tensors(path, weights, expected)
        found = cls(**sizes)
        found.load_state_dict(weights)
        return found.eval()
