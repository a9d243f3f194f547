"""A store: its vectors in a plane, coloured by label, with the clips to listen to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, DataError, ManifestError, choose
from embcomp.extras import imported
from embcomp.show.page import PAGE, check_folder, mark_folder, write_page
from embcomp.show.pictures import check_picture, new_figure, plain, save_picture
from embcomp.show.sounds import FOLDER, copied, linked
from embcomp.storage.store import EmbeddingStore

PICTURE = "map.png"
MOST = 1000  # points
COLOURED = 20  # labels that get a colour of their own


def pca(vectors: np.ndarray, seed: int) -> np.ndarray:
    """The first two principal components, (n, 2)."""
    from sklearn.decomposition import PCA

    return PCA(2, random_state=seed).fit_transform(vectors)


def umap(vectors: np.ndarray, seed: int) -> np.ndarray:
    """McInnes, Healy and Melville (2018), with the defaults of umap-learn, (n, 2).

    Raises
    ------
    MissingDependencyError
        umap-learn is not installed.
    """
    learner = imported("umap", "--map umap needs", "umap-learn", "umap").UMAP
    return learner(n_components=2, n_neighbors=min(15, len(vectors) - 1), random_state=seed, n_jobs=1).fit_transform(
        vectors
    )


MAPS = {"pca": pca, "umap": umap}


def show_store(
    store: str | os.PathLike,
    out: str | os.PathLike,
    manifest: Manifest | None = None,
    how: str = "pca",
    most: int = MOST,
    link: bool = False,
    seed: int = 0,
    ffmpeg: bool = False,
) -> list[Path]:
    """Draw the vectors of a store in a plane.

    Parameters
    ----------
    store : path
    out : path
        PNG file, or a folder, which gets the picture and, with a manifest, a page that plays a clip on a click.
    manifest : Manifest, optional
        Labels and audio of the store's clips.
    how : {"pca", "umap"}
    most : int
        Points; of more vectors so many are drawn at random.
    link : bool
        Let the page play the audio where it lies, instead of copies.
    seed : int
        Of the points drawn, and of the map.

    Returns
    -------
    list of Path

    Raises
    ------
    StoreError
        It is no store.
    ManifestError
        It names none of the store's clips.
    ConfigError
        There is no such map, or a page is wanted and there is no manifest.
    """
    out = Path(out)
    folder = None if out.suffix else out
    project = choose("map", how, MAPS)
    if most < 3:
        raise ConfigError(f"--most must be at least 3, not {most}")
    if folder is not None:
        if manifest is None:
            raise ConfigError("the page needs the clips: add --manifest, or take --out FILE.png")
        check_folder(folder, (PICTURE, PAGE, FOLDER))
    picture = out if folder is None else folder / PICTURE
    check_picture(picture)
    opened = EmbeddingStore.open(store)
    ids, rows = list(opened.ids), np.arange(len(opened.ids))
    clip_of: dict[str, int] = {}
    if manifest is not None:
        clip_of = {name: row for row, name in enumerate(manifest.ids)}
        rows = np.array([row for row, name in enumerate(ids) if name in clip_of], dtype=int)
        if not len(rows):
            raise ManifestError(
                f"the manifest names none of the clips of {store}, which are called {ids[0]!r} and so on"
            )
    if len(rows) < 3:
        raise DataError(f"a map needs 3 vectors or more; {store} has {len(rows)} of these clips")
    total = len(rows)
    if total > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    names = [ids[row] for row in rows]
    vectors = np.asarray(opened.take(names), dtype=np.float64)
    if vectors.shape[1] == 1:
        vectors = np.hstack([vectors, np.zeros_like(vectors)])
    plane = np.asarray(project(vectors, seed), dtype=np.float64)
    labels = [manifest.labels[clip_of[name]] if manifest is not None else "" for name in names]
    classes = sorted({label for label in labels if label})
    title = f"{Path(store).resolve().name}: {how.upper()} of {len(names)} vectors"
    written = [save_picture(_figure(plane, labels, classes, title), picture)]
    if folder is not None:
        mark_folder(folder)
        clips = [clip_of[name] for name in names]
        sounds = linked(manifest, clips, folder) if link else copied(manifest, clips, folder, ffmpeg)
        number = {name: place for place, name in enumerate(classes)}
        about = f"{opened.dim} dimensions in two. Click a point, or use the arrow keys, to play its clip. " + where(
            link
        )
        if total > len(names):
            about += f" {len(names)} of {total} clips, drawn at random."
        content = {
            "kind": "map",
            "classes": classes,
            "points": [[*point, number.get(label, -1)] for point, label in zip(plane.round(5).tolist(), labels)],
            "clips": [{"name": name, "said": label, "src": src} for name, label, src in zip(names, labels, sounds)],
        }
        written.append(write_page(folder, title, about, content))
    return written


def where(link: bool) -> str:
    """Where the sounds of a page are, in words."""
    if link:
        return "Sounds are played from where they lie: keep the folder where it is."
    return f"Sounds are copies in {FOLDER}/: the folder can be moved."


def _figure(plane: np.ndarray, labels: list[str], classes: list[str], title: str):
    figure = new_figure(8, 6)
    axes = figure.subplots()
    given = np.array(labels, dtype=object)
    colours = "tab10" if len(classes) <= 10 else "tab20"
    if (given == "").any():
        axes.scatter(*plane[given == ""].T, s=12, color="0.6", label="no label" if classes else None)
    from matplotlib import colormaps

    for number, name in enumerate(classes):
        colour = colormaps[colours](number % COLOURED)
        axes.scatter(*plane[given == name].T, s=12, color=[colour], label=plain(name, 30) if number < 40 else None)
    if classes:
        axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(title=plain(title), xticks=[], yticks=[])
    return figure
