"""Frames of videos and animations for a page."""

from pathlib import Path

import pytest
from PIL import Image

from cnncli.errors import InputError
from cnncli.viewer import frames
from cnncli.viewer.frames import FrameCursor


@pytest.fixture
def animation(tmp_path: Path) -> str:
    path = tmp_path / "a.gif"
    first, *rest = (Image.new("L", (64, 48), number * 20) for number in range(10))
    first.save(path, save_all=True, append_images=rest)
    return str(path)


@pytest.mark.parametrize("kind", ["video", "animation"])
def test_finds_frames_forwards_and_again(request: pytest.FixtureRequest, kind: str) -> None:
    path, cursor = request.getfixturevalue(kind), FrameCursor()
    for number in (0, 1, 1, 5, 9, 2):
        assert cursor.pixels(path, number).mean() == pytest.approx(20 * number, abs=6)


def test_opens_a_video_once_for_frames_in_order(video: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original = frames.video_frames
    monkeypatch.setattr(frames, "video_frames", lambda path: opened.append(path) or original(path))
    cursor = FrameCursor()
    for number in range(10):
        cursor.pixels(video, number)
    for number in range(10, 15):
        with pytest.raises(InputError, match="no such frame"):
            cursor.pixels(video, number)
    assert opened == [video]


def test_rejects_what_holds_no_frames(tmp_path: Path) -> None:
    for name in ("gone.mp4", "gone.gif"):
        with pytest.raises(InputError, match="no such file"):
            FrameCursor().pixels(str(tmp_path / name), 0)
