"""Manifests from other programs: separators, encodings, paths from Windows, and files that are no table."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import soundfile

from embcomp.audio.clips import Clips
from embcomp.data.labels import read_label_map
from embcomp.data.manifest import Manifest
from embcomp.errors import ManifestError

PLAIN = "path,label,group,start,end\na.wav,owl,g,0.5,1.5\nb.wav,tit,h,,\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";").replace("0.5", "0,5").replace("1.5", "1,5"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        '\ufeff"sep=;"\r\n' + PLAIN.replace(",", ";").replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";").replace("\n", "\r"),
    ],
    ids=["semicolons", "tabs", "decimal commas", "directive", "directive, bom, crlf", "cr", "semicolons, cr"],
)
def test_tables_of_other_programs_are_read(tmp_path, text):
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode())
    manifest = Manifest.read(path)
    assert manifest.ids == ["a.wav#0.5-1.5", "b.wav"] and manifest.labels == ["owl", "tit"]
    assert manifest.groups.tolist() == ["g", "h"]
    first = 3 if "sep=" in text else 2
    assert manifest.table["row"].tolist() == [first, first + 1]


def test_a_comma_inside_a_cell_of_semicolons_stays(tmp_path):
    (tmp_path / "m.csv").write_text("path;label\na.wav;Bark, loud\nb.wav;tit\n")
    assert Manifest.read(tmp_path / "m.csv").labels == ["Bark, loud", "tit"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html>\n<html><head><title>404</title>", r"web page \(HTML\).*download the file again"),
        (b"  \n<html>", "web page"),
        (b"PK\x03\x04" + bytes(30), "ZIP archive .an Excel workbook is one, too.: unpack it"),
        (b"\x1f\x8b\x08", "gzip archive"),
        (b"PAR1" + bytes(9), "Parquet file: `embcomp manifest table`"),
        (b'{"error": "not found"}', "JSON text, an error message perhaps"),
        (
            "path,label\na.wav,Straße\n".encode("cp1252"),
            r"byte 21, row 2.* reads 'a.wav,Straße'. Save it as UTF-8 .*iconv",
        ),
        ("path,label\na,b\n".encode("utf-16"), "but UTF-16; save it as UTF-8"),
    ],
)
def test_what_is_no_table_is_named_with_its_mend(tmp_path, content, message):
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    for read in (Manifest.read, read_label_map):
        with pytest.raises(ManifestError, match=message):
            read(path)


def test_a_folder_is_refused_with_what_was_probably_meant(tmp_path):
    with pytest.raises(
        ManifestError, match=r"it is a folder .*`embcomp manifest folder .*makes one of a folder of audio"
    ):
        Manifest.read(tmp_path)
    (tmp_path / "other.csv").write_text("x")
    (tmp_path / "manifest.csv").write_text("x")
    with pytest.raises(ManifestError, match=r"did you mean .*/manifest\.csv\?"):
        Manifest.read(tmp_path)


def test_backslashes_are_read_as_slashes_unless_the_file_is_called_so(tmp_path):
    (tmp_path / "dog").mkdir()
    soundfile.write(tmp_path / "dog/a.wav", np.full(1600, 0.1), 16_000)
    soundfile.write(tmp_path / "AC\\DC.wav", np.full(1600, 0.1), 16_000)
    (tmp_path / "m.csv").write_text("path,label\ndog\\a.wav,x\nAC\\DC.wav,y\n")
    manifest = Manifest.read(tmp_path / "m.csv")
    assert manifest.ids == ["dog/a.wav", "AC\\DC.wav"]
    assert any("1 path with backslashes" in note for note in manifest.notes)
    assert Clips(manifest, 16_000, 1.0).bad_clips() == []


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_file_is_found_in_either_unicode_form(tmp_path, forms):
    written, on_disk = (unicodedata.normalize(form, "Grünfink.wav") for form in forms)
    soundfile.write(tmp_path / on_disk, np.full(1600, 0.1), 16_000)
    (tmp_path / "m.csv").write_text(f"path,label\n{written},x\n", encoding="utf-8")
    clips = Clips(Manifest.read(tmp_path / "m.csv"), 16_000, 1.0)
    assert clips.bad_clips() == [] and clips.hashes() != ["unreadable"]


@pytest.mark.parametrize("text", ["from;to\na;b\n", "from\tto\na\tb\n", "\ufefffrom,to\r\na,b\r\n"])
def test_label_maps_of_other_programs_are_read(tmp_path, text):
    (tmp_path / "map.csv").write_bytes(text.encode())
    assert read_label_map(tmp_path / "map.csv") == {"a": "b"}
