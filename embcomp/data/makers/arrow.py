"""Parquet and Arrow files of `datasets`: their columns, class names, and the audio inside."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embcomp.data.tables import cell_text, parquet_file
from embcomp.errors import ManifestError
from embcomp.extras import imported

BATCH = 64  # rows of audio in memory at once
SPLIT_OF_NAME = re.compile(r"(?:^|[-_/])(train|test|validation|valid|val|dev|eval)(?=$|[-_./])")


@dataclass
class Part:
    """One file of a data set, or one split of it.

    Attributes
    ----------
    name : str
        For messages.
    split : str
    schema : pyarrow.Schema
    rows : int
    read : callable
        Columns to an iterator of tables.
    """

    name: str
    split: str
    schema: Any
    rows: int
    read: Callable[[list[str]], Iterator[Any]]
    audio: str = ""
    classes: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        features = _features(self.schema)
        for name, kind in features.items():
            names = _class_names(kind)
            if names:
                self.classes[name] = names
        found = [name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Audio"]
        found += [
            name for name in self.schema.names if name not in found and _holds_audio(self.schema.field(name).type)
        ]
        if not found:
            found = [
                name for name in self.schema.names if name.lower() in ("audio", "file", "path", "file_name", "filename")
            ]
        if not found:
            raise ManifestError(f"{self.name} has no column of audio (found: {', '.join(self.schema.names)})")
        self.audio = found[0]

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return list(self.schema.names)

    @property
    def embedded(self) -> bool:
        """Whether the audio is inside."""
        return bool({"bytes", "array"} & set(_fields(self.schema.field(self.audio).type))) or _binary(
            self.schema.field(self.audio).type
        )

    def cells(self) -> dict[str, list[str]]:
        """Every other column that is no large object, as text; numbers of classes by their names."""
        wanted = [
            name for name in self.schema.names if name != self.audio and not _holds_audio(self.schema.field(name).type)
        ]
        found: dict[str, list[str]] = {name: [] for name in wanted}
        for table in self.read(wanted):
            for name in wanted:
                names = self.classes.get(name)
                found[name] += [
                    _named(value, names) if names else cell_text(value) for value in table.column(name).to_pylist()
                ]
        return found

    def paths(self) -> list[str]:
        """What the audio is called, a name a row; empty where it has none."""
        kind = self.schema.field(self.audio).type
        found: list[str] = []
        if _binary(kind) or (_fields(kind) and "path" not in _fields(kind)):
            return [""] * self.rows
        for table in self.read([self.audio]):
            column = table.column(self.audio)
            if _fields(kind):
                import pyarrow.compute

                column = pyarrow.compute.struct_field(column, "path")
            found += [cell_text(value) for value in column.to_pylist()]
        return found

    def sounds(self) -> Iterator[Any]:
        """The audio of each row: bytes, a dict with ``array`` and ``sampling_rate``, or None."""
        for table in self.read([self.audio]):
            for value in table.column(self.audio).to_pylist():
                if isinstance(value, dict):
                    value = value.get("bytes") or (value if value.get("array") else None)
                yield value


def disk_parts(folder: Path) -> list[Part]:
    """Parquet or Arrow files in a folder, or in ``data`` or split folders below it; none where there are none."""
    files: list[Path] = []
    for pattern in ("*.parquet", "*/*.parquet", "*/*/*.parquet", "*.arrow", "*/*.arrow"):
        some = sorted(
            path
            for path in folder.glob(pattern)
            if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
        files += [path for path in some if not path.name.startswith("cache-")]
        if files and pattern.endswith("arrow"):
            break
    if any(path.suffix == ".parquet" for path in files):
        files = [path for path in files if path.suffix == ".parquet"]
    return [_parquet_part(path, folder) if path.suffix == ".parquet" else _arrow_part(path, folder) for path in files]


def hub_parts(name: str, config: str) -> list[Part]:
    """The splits of a data set at the hub, by way of the package datasets.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    ManifestError
        There is no such data set, or it cannot be loaded.
    """
    datasets = imported("datasets", f"there is no folder {name}, and a data set at the hub needs", extra="hf")
    try:
        loaded = datasets.load_dataset(name, config or None)
    except Exception as error:  # of many kinds: network, names, formats
        raise ManifestError(
            f"there is no folder {name}, and the hub gives no data set of that name: {str(error).strip()}"
        ) from None
    return [dataset_part(dataset, str(split)) for split, dataset in loaded.items()]


def dataset_part(dataset: Any, split: str = "") -> Part:
    """A `datasets.Dataset` as a part; its audio is not decoded."""

    def read(columns: list[str]) -> Iterator[Any]:
        yield from dataset.select_columns(columns).with_format("arrow").iter(BATCH) if columns else ()

    return Part(
        str(getattr(dataset.info, "dataset_name", None) or "data set"),
        split,
        dataset.features.arrow_schema,
        len(dataset),
        read,
    )


def _parquet_part(path: Path, home: Path) -> Part:
    import pyarrow

    file = parquet_file(path)

    def read(columns: list[str]) -> Iterator[Any]:
        for batch in file.iter_batches(BATCH, columns=columns) if columns else ():
            yield pyarrow.Table.from_batches([batch])

    return Part(str(path), _split(path, home), file.schema_arrow, file.metadata.num_rows, read)


def _arrow_part(path: Path, home: Path) -> Part:
    imported("pyarrow.ipc", "Arrow files need", extra="tables")  # an attribute of the package from now on
    pyarrow = imported("pyarrow", "Arrow files need", extra="tables")

    def opened() -> Any:
        source = pyarrow.memory_map(str(path))
        try:
            return pyarrow.ipc.open_stream(source)
        except pyarrow.ArrowInvalid:
            return pyarrow.ipc.open_file(source)

    def batches() -> Iterator[Any]:
        reader = opened()
        yield from (
            reader if hasattr(reader, "read_next_batch") else map(reader.get_batch, range(reader.num_record_batches))
        )

    def read(columns: list[str]) -> Iterator[Any]:
        for batch in batches() if columns else ():
            for first in range(0, batch.num_rows, BATCH):
                yield pyarrow.Table.from_batches([batch.slice(first, BATCH)]).select(columns)

    try:
        return Part(str(path), _split(path, home), opened().schema, sum(batch.num_rows for batch in batches()), read)
    except (OSError, pyarrow.ArrowException) as error:
        raise ManifestError(f"cannot read {path} as Arrow: {error}") from None


def _split(path: Path, home: Path) -> str:
    match = SPLIT_OF_NAME.search(path.relative_to(home).as_posix())
    return match[1] if match else ""


def _features(schema: Any) -> dict[str, Any]:
    try:
        return json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}


def _class_names(kind: Any) -> list[str]:
    while isinstance(kind, dict) and kind.get("_type") in ("Sequence", "List", "LargeList"):
        kind = kind.get("feature")
    while isinstance(kind, list) and kind:
        kind = kind[0]
    return list(kind.get("names") or []) if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" else []


def _named(value: Any, names: list[str]) -> str:
    if isinstance(value, list):
        return "|".join(filter(None, (_named(one, names) for one in value))) or "|"
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else ""


def _fields(kind: Any) -> list[str]:
    return [kind.field(number).name for number in range(kind.num_fields)] if str(kind).startswith("struct") else []


def _binary(kind: Any) -> bool:
    return str(kind) in ("binary", "large_binary")


def _holds_audio(kind: Any) -> bool:
    return bool({"bytes", "array"} & set(_fields(kind))) or _binary(kind)
