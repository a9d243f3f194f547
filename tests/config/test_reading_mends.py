"""Settings that other programs wrote: what is wrong with the file, and the mend."""

from __future__ import annotations

import pytest

from embcomp.config import load
from embcomp.errors import ConfigError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('name = "größe"\n'.encode("cp1252"), r"is not UTF-8 \(byte 10\); save it as UTF-8"),
        (b'[data]\ntrain = "C:\\sounds\\m.csv"\n', r"write paths with / or in 'single quotes'"),
    ],
)
def test_text_from_windows(tmp_path, content, message):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path / "c.toml")


def test_a_byte_order_mark_is_no_key(tmp_path):
    (tmp_path / "c.toml").write_bytes(b'\xef\xbb\xbfname = "x"\r\n')
    assert load(tmp_path / "c.toml").name == "x"


def test_a_folder_given_for_a_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*directory; `embcomp init .*` writes settings"):
        load(tmp_path)
    (tmp_path / "embcomp.toml").write_text("")
    with pytest.raises(ConfigError, match=r"directory; did you mean .*/embcomp\.toml\?"):
        load(tmp_path)
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ConfigError, match=r"directory; did you mean .*/config\.toml\?"):
        load(tmp_path)


def test_a_manifest_given_for_settings(tmp_path):
    (tmp_path / "manifest.csv").write_text("path,label\na.wav,x\n")
    with pytest.raises(ConfigError, match=r"not TOML: .*; `embcomp init .*manifest\.csv` writes settings"):
        load(tmp_path / "manifest.csv")
