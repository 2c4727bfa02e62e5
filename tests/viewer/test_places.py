"""Where photos are looked for, and their URLs."""

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from cnncli.viewer.places import locate, relative_url
from cnncli.viewer.records import Recorded
from tests.viewer.conftest import record


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Of a records file in `runs`, while the working folder is `here`."""
    for name in ("runs", "here", "album"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Recorded(record("detect", "a.jpg"), "detect", str(tmp_path / "runs" / "r.jsonl"), 1)


def test_looks_in_photos_then_here_then_beside_the_records(tmp_path: Path, recorded: Recorded) -> None:
    album = tmp_path / "album"
    for place, found in (("runs", tmp_path / "runs/a.jpg"), ("here", Path("a.jpg")), ("album", album / "a.jpg")):
        (tmp_path / place / "a.jpg").touch()
        assert locate("a.jpg", recorded, album) == str(found)
    assert locate("a.jpg", recorded, None) == "a.jpg"


def test_answers_a_name_for_what_is_nowhere(recorded: Recorded) -> None:
    assert locate("gone.jpg", recorded, None) == "gone.jpg"
    assert locate("\0", recorded, None) == "\0"
    assert locate("/no/such.jpg", recorded, Path("album")) == "/no/such.jpg"


NAMES = ["a b.jpg", "javascript:alert(1)", "100%#?.jpg", "\u202egpj.jpg", os.fsdecode(b"caf\xe9.jpg"), "//host/a.jpg"]


@pytest.mark.parametrize("name", NAMES)
def test_url_leads_back_to_the_file(tmp_path: Path, name: str) -> None:
    url = relative_url(str(tmp_path / "photos" / name.lstrip("/")), tmp_path / "pages" / "page.html")
    assert url is not None and url.startswith("./") and url.isascii()
    assert not set(url) & set(':?#"<> ')
    joined = os.path.join(os.fsencode(tmp_path / "pages"), unquote_to_bytes(url))
    assert os.path.normpath(joined) == os.fsencode(tmp_path / "photos" / name.lstrip("/"))


def test_no_url_for_a_name_that_no_file_has(tmp_path: Path) -> None:
    assert relative_url("\ud800.jpg", tmp_path / "page.html") is None
