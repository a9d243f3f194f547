"""Which column of a table means what: the names people give to the columns of a manifest."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embcomp.errors import ManifestError

# Names are compared without case, blanks, dashes and underscores: "Speaker ID" is speaker_id.
MEANINGS: dict[str, tuple[str, ...]] = {
    "path": (
        *("path", "file", "filename", "file_name", "file_path", "filepath", "audio", "audio_path", "audio_file"),
        *("audio_filepath", "audio_filename", "wav", "wav_path", "wav_file", "sound_file", "clip_path", "fname"),
    ),
    "label": (
        *("label", "labels", "class", "class_name", "class_label", "class_id", "category", "category_name", "target"),
        *("label_name", "label_id", "sound_class", "emotion", "event", "event_label", "tag", "tags", "species"),
        *("primary_label", "instrument", "genre", "word", "keyword", "command", "digit", "intent", "scene"),
        *("scene_label", "diagnosis"),
    ),
    "group": (
        *("group", "groups", "group_id", "speaker_or_group", "speaker", "speaker_id", "spk", "spk_id", "spkr"),
        *("client", "client_id", "subject", "subject_id", "participant", "participant_id", "patient", "patient_id"),
        *("person", "person_id", "user", "user_id", "actor", "actor_id", "singer", "singer_id", "player", "player_id"),
        *("performer", "drummer", "artist", "artist_id", "song", "song_id", "track", "track_id", "album", "album_id"),
        *("reader", "reader_id", "talker", "talker_id", "narrator", "narrator_id", "voice_id", "caller", "caller_id"),
        *(
            "child",
            "child_id",
            "infant",
            "infant_id",
            "baby",
            "baby_id",
            "bird_id",
            "individual",
            "animal",
            "individual_id",
            "animal_id",
            "machine",
            "machine_id",
            "device_id",
            "recordist",
        ),
        *("recording", "recording_id", "recording_name", "session", "session_id", "source_file", "source_id"),
        *(
            "deployment",
            "deployment_id",
            "station",
            "station_id",
            "src_file",
            "fsid",
            "freesound_id",
            "youtube_id",
            "video_id",
            "site",
            "site_id",
            "location",
            "location_id",
        ),
    ),
    "split": (
        *("split", "splits", "fold", "folds", "fold_id", "fold_or_split", "subset", "partition", "set", "test_fold"),
        *("split_name", "usage"),
    ),
    "dataset": ("dataset", "dataset_name", "data_set", "corpus", "corpus_name", "database"),
    "start": ("start", "start_s", "start_sec", "start_seconds", "start_time", "begin", "begin_time", "onset"),
    "end": ("end", "end_s", "end_sec", "end_seconds", "end_time", "stop_time"),
}
# Where no column names a file, these may name the rows: of embeddings, say, whose audio was not kept.
ROW_IDS = (
    "id",
    "ids",
    "clipid",
    "uttid",
    "utt",
    "utterance",
    "utteranceid",
    "sampleid",
    "itemid",
    "uid",
    "key",
    "name",
    "clip",
)
OWN = {"group": ("speaker_or_group",), "split": ("fold_or_split",)}  # as good as the name itself
SHOWN = 12  # unused columns named


def simplified(name: str) -> str:
    """A column's name as it is compared: letters and digits in lower case."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())


MEANING_OF: dict[str, str] = {simplified(name): meaning for meaning, names in MEANINGS.items() for name in names}


def meaning_of(name: str) -> str | None:
    """What a column's name means; a group's may end in "name" or "code".

    Examples
    --------
    >>> meaning_of("Speaker Name"), meaning_of("age")
    ('group', None)
    """
    plain = simplified(name)
    ending = re.fullmatch("(.+)(?:name|code)", plain)
    if plain not in MEANING_OF and ending and MEANING_OF.get(ending[1]) == "group":
        return "group"
    return MEANING_OF.get(plain)


@dataclass(frozen=True)
class Columns:
    """Which column of a table is used for what.

    Attributes
    ----------
    source : dict of str to str
        From a meaning (``"group"``) to the column's own name.
    notes : tuple of str
        What a user must know: columns taken under another name, and columns not used.
    unused : tuple of str
        Columns not used.
    """

    source: dict[str, str]
    notes: tuple[str, ...]
    unused: tuple[str, ...] = ()


def refuse_doubled(names: Sequence[str], where: object, group_column: str = "") -> None:
    """Refuse a table that has a column twice which is used.

    Parameters
    ----------
    names : sequence of str
        Of its columns.
    where : object
        What the table is, for the message.
    group_column : str, optional
        The column that is asked for as the group.

    Raises
    ------
    ManifestError
        Names the column.
    """
    for name in dict.fromkeys(names):
        if names.count(name) > 1 and (simplified(name) in MEANING_OF or name == group_column):
            raise ManifestError(f"{where} has two columns {name!r}; keep one")


def assign(table: Mapping[str, Sequence[str]], where: str, group_column: str = "") -> Columns:
    """Say what the columns of a table mean.

    A column of the very name is taken; without one, a column whose name means the same (`MEANINGS`). Columns that
    divide the rows in the same way, a speaker's name and number say, count as one. A column without any value
    counts as none.

    Parameters
    ----------
    table : mapping of str to sequence of str
        Cells by column name, the names as in the file.
    where : str
        The file, for messages.
    group_column : str, optional
        The column to take as the group, whatever its name.

    Raises
    ------
    ManifestError
        Two columns may mean the group or the label; or there is no column `group_column`.

    Examples
    --------
    >>> found = assign({"path": ["a", "b"], "label": ["x", "y"], "Speaker ID": ["1", "2"], "age": ["9", "8"]}, "m.csv")
    >>> found.source
    {'path': 'path', 'label': 'label', 'group': 'Speaker ID'}
    >>> found.notes
    ("m.csv: the column 'Speaker ID' is taken as the group", 'm.csv: columns not used: age')
    """
    source: dict[str, str] = {}
    notes: list[str] = []
    if group_column:
        if group_column not in table:
            raise ManifestError(
                f"{where} has no column {group_column!r} to take as the group (found: {', '.join(table)})"
            )
        source["group"] = group_column
    filled = {name for name, cells in table.items() if any(cell.strip() for cell in cells)}
    undecided: list[str] = []
    for meaning in MEANINGS:
        if meaning in source:
            continue
        own = next((name for name in (meaning, *OWN.get(meaning, ())) if name in filled), None)
        if own is not None:
            source[meaning] = own
            continue
        found = [
            name for name in table if meaning_of(name) == meaning and name in filled and name not in source.values()
        ]
        found = _different(found, table)
        if len(found) > 1:
            undecided.append(_ask(meaning, found, table, where))
        elif found:
            source[meaning] = found[0]
        elif meaning in table:
            source[meaning] = meaning
    # The offset of an event is its end where its start is called onset, and a start elsewhere.
    offset = next((name for name in table if simplified(name) == "offset" and name in filled), None)
    if offset is not None and "end" not in source and simplified(source.get("start", "")) == "onset":
        source["end"] = offset
    if source.get("path", "path") == "path" and "path" not in filled:
        found = sorted(
            (name for name in filled if simplified(name) in ROW_IDS), key=lambda name: ROW_IDS.index(simplified(name))
        )
        if found and found[0] not in source.values():
            source["path"] = found[0]
    for meaning, name in source.items():
        if name != meaning:
            notes.append(f"{where}: the column {name!r} is taken as the {_word(meaning)}")
    unused = [name for name in table if name not in source.values() and (name or name in filled)]
    # Those that might have been meant come first.
    unused.sort(key=lambda name: meaning_of(name) is None)
    if unused:
        more = f" and {len(unused) - SHOWN} more" if len(unused) > SHOWN else ""
        named = ", ".join(name or "(one without a name)" for name in unused[:SHOWN])
        notes.append(f"{where}: columns not used: {named}{more}")
    return Columns(source, (*notes, *undecided), tuple(unused))


def _word(meaning: str) -> str:
    return {"start": "start in seconds", "end": "end in seconds"}.get(meaning, meaning)


def _ask(meaning: str, found: list[str], table: Mapping[str, Sequence[str]], where: str) -> str:
    """Refuse columns of which only one can be meant, or say that none is used where it is not needed."""
    listing = " and ".join(f"{name!r} ({len({*table[name]} - {''})} values)" for name in found)
    may = f"{where}: the columns {listing} may each mean the {_word(meaning)}"
    if meaning == "group":
        raise ManifestError(
            f"{may}; say which with --group-column NAME (data.group_column): what must not be on both sides of a test"
        )
    if meaning in ("path", "label"):
        raise ManifestError(f"{may}; rename the one you mean to {meaning!r}")
    return f"{may}; none is used: rename the one you mean to {meaning!r}"


def _different(names: list[str], table: Mapping[str, Sequence[str]]) -> list[str]:
    """`names` without those that divide the rows as another does; of such, the one with words rather than numbers."""
    kept: dict[tuple[int, ...], str] = {}
    for name in names:
        number: dict[str, int] = {}
        rows = tuple(number.setdefault(cell.strip(), len(number)) for cell in table[name])
        if rows not in kept or (_numeric(table[kept[rows]]) and not _numeric(table[name])):
            kept[rows] = name
    return [name for name in names if name in kept.values()]


def _numeric(cells: Sequence[str]) -> bool:
    return all(re.fullmatch(r"\s*[-+]?[\d.]+\s*", cell) for cell in cells if cell.strip())
