"""Where the frozen vectors of captions come from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embcomp.errors import ConfigError, DataError, StoreError, choose
from embcomp.extras import imported
from embcomp.storage.arrays import open_array

LSA_DIM = 64


def caption_vectors(spec: str, texts: Sequence[str], seed: int = 0) -> np.ndarray:
    """Embed captions with a text teacher.

    The paper's teacher is Llama-2, run beforehand. Any frozen vectors do.

    Parameters
    ----------
    spec : str
        ``lsa``: latent semantic analysis of these captions, see `lsa`;
        ``vectors:FOLDER``: stored vectors, see `stored`;
        ``sentence-transformers:NAME``: a model of that package, by name or folder.
    texts : sequence of n str
    seed : int, default=0

    Returns
    -------
    ndarray of float32 of shape (n, dim)

    Raises
    ------
    ConfigError
        An unknown kind, or one that needs an argument and has none.
    MissingDependencyError
        The package is not installed.
    StoreError
        Stored vectors are damaged or lack a caption.
    DataError
        A vector is not finite.
    """
    kind, _, argument = spec.partition(":")
    make = choose("text teacher", kind, {"lsa": lsa, "vectors": stored, "sentence-transformers": sentence_transformer})
    if bool(argument) == (kind == "lsa"):
        wanted = {"lsa": "lsa", "vectors": "vectors:FOLDER"}.get(kind, "sentence-transformers:NAME_OR_FOLDER")
        raise ConfigError(f"the text teacher is given as {wanted}, not {spec!r}")
    vectors = np.asarray(make(texts, argument or seed), dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise DataError(f"the text teacher {spec!r} gave NaN or infinity")
    return vectors


def lsa(texts: Sequence[str], seed: int = 0, dim: int = LSA_DIM) -> np.ndarray:
    """Latent semantic analysis (Deerwester et al. 1990) of words and character n-grams.

    It knows which words of these captions occur together and has no world knowledge: a small substitute
    where no language model is at hand, not a substitute for one.

    Parameters
    ----------
    texts : sequence of n str
    dim : int
        At most; less where there are fewer captions.

    Returns
    -------
    ndarray of shape (n, dim), unit rows
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union
    from sklearn.preprocessing import normalize

    words = TfidfVectorizer(token_pattern=r"[^\W_]+", ngram_range=(1, 2), sublinear_tf=True)
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    try:
        counts = make_union(words, grams).fit_transform(texts)
    except ValueError as error:
        raise DataError(f"the captions hold no words to analyse ({error})") from None
    size = min(dim, len(texts) - 1, counts.shape[1] - 1)
    if size < 1:
        raise DataError("latent semantic analysis needs two different captions or more")
    return normalize(TruncatedSVD(size, random_state=seed).fit_transform(counts))


def stored(texts: Sequence[str], folder: str) -> np.ndarray:
    """Vectors made elsewhere: ``texts.csv`` (column ``text``) and ``vectors.npy``, row for row."""
    table, array = Path(folder, "texts.csv"), Path(folder, "vectors.npy")
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            row_of = {row["text"]: number for number, row in enumerate(csv.DictReader(file))}
        vectors = open_array(array)
    except KeyError:
        raise StoreError(f"{table} has no column 'text'") from None
    except (OSError, ValueError, csv.Error) as error:
        raise StoreError(f"cannot read {table} and {array}: {error}") from None
    if vectors.dtype.kind not in "fiu" or vectors.ndim != 2 or len(vectors) <= max(row_of.values(), default=-1):
        raise StoreError(
            f"{array} holds {vectors.dtype} of shape {vectors.shape}; it must hold one row for each of the texts of {table}"
        )
    missing = [text for text in texts if text not in row_of]
    if missing:
        raise StoreError(f"{table} lacks {len(missing)} captions, {missing[0]!r} first; embed them too")
    return vectors[[row_of[text] for text in texts]]


def sentence_transformer(texts: Sequence[str], name: str) -> np.ndarray:
    """Unit vectors of a sentence-transformers model (Reimers & Gurevych 2019, arXiv 1908.10084), on the CPU."""
    package = imported(
        "sentence_transformers",
        "the text teacher sentence-transformers needs",
        "sentence-transformers",
        otherwise="; or use lsa, or vectors:FOLDER with vectors made elsewhere",
    )
    try:
        model = package.SentenceTransformer(name, device="cpu")
    except (OSError, ValueError) as error:
        raise ConfigError(f"sentence-transformers cannot load {name!r}: {error}") from None
    return model.encode(list(texts), convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False)
