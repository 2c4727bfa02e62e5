"""The page in a browser: what is shown, filtered, sorted, opened, and by which keys. No timing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.cli.gallery import gallery_command
from cnncli.imaging.masks import run_lengths
from tests.viewer.browser import Watched, chromium, program
from tests.viewer.conftest import FACE, HOSTILE, box, failed, record, write_photo, write_records

pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
pytestmark = [
    pytest.mark.skipif(program() is None, reason="needs Chromium or Chrome on the PATH"),
    pytest.mark.xdist_group("browser"),
]
MANY = 2000
LABELS = ("dog", "cat", "car")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def made(folder: Path, records: list[dict[str, Any]]) -> Path:
    """The page of records whose photos lie in `folder`."""
    run = write_records(folder / "run.jsonl", records)
    assert gallery_command([str(run)], out=folder / "page.html", size=48, quiet=True) == 0
    return folder / "page.html"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 detections: record n has label n % 3 at n / 2000, each tenth failed, each photo one of four."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(4):
        write_photo(folder / f"{number}.png", (60 * number, 90, 200))
    records = [
        failed("detect", f"photo-{n}.png", "damaged (cut short)", detections=None)
        if n % 10 == 9
        else record("detect", f"{n % 4}.png", n, detections=[box(LABELS[n % 3], n / MANY)])
        for n in range(MANY)
    ]
    return made(folder, records)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One record of each task."""
    folder = tmp_path_factory.mktemp("mixed")
    write_photo(folder / "a.png")
    write_photo(folder / "b.png", (20, 90, 220))
    rle = run_lengths(np.tri(40, 60, dtype=bool))
    segment = {"label": "dog", "index": 12, "area": 600, "fraction": 0.25, "rle": rle}
    pair = {"verified": True, "distance": 0.1, "threshold": 0.6, "similarity_metric": "cosine", "file2": "b.png"}
    classes = [{"label": name, "index": 1, "score": score} for name, score in (("tabby", 0.8), ("lynx", 0.1))]
    return made(
        folder,
        [
            record("classify", "a.png", classes=classes),
            record("detect", "a.png", detections=[box("dog", 0.9)]),
            record("segment", "a.png", segments=[segment]),
            record("denoise", "a.png", output="b.png", sigma=10.0, tiles=1),
            record("sobel", "a.png", output="b.png", min=0.0, max=9.0, mean=1.0),
            record("verify-face", "a.png", **pair, facial_areas={"img1": FACE, "img2": FACE}),
        ],
    )


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    """A page that must neither complain nor ask for anything but files."""
    watched = Watched(browser)
    yield watched
    watched.page.close()
    assert watched.complaints == [] and watched.asked_elsewhere == []


def count(page: Any) -> str:
    return page.text_content("#count")


def names(page: Any) -> list[str]:
    """Names of the tiles in the document, in their order."""
    return page.evaluate(
        "[...document.querySelectorAll('#tiles > li')].sort((a, b) => a.ariaPosInSet - b.ariaPosInSet)"
        ".map((tile) => tile.querySelector('.name').title)"
    )


def chosen(page: Any, text: str) -> Any:
    """A box or button of the filters."""
    return page.locator("#filters").get_by_label(text)


def wait(page: Any, expression: str) -> None:
    """Until an expression is true. Not by playwright, which evaluates text in the page: its policy forbids that."""
    for _ in range(500):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"{expression} has not become true")


def hash_of(page: Any) -> str:
    wait(page, "writing === 0")
    return page.evaluate("location.hash")


def test_shows_many_records_but_holds_few(watched: Watched, many: Path) -> None:
    page = watched.open(many)
    assert count(page) == "2,000 of 2,000"
    assert watched.requests == [many.as_uri()] + [url for url in watched.requests if url.startswith("data:")]
    assert 8 <= page.locator(".tile").count() < 100
    assert page.evaluate("document.querySelector('.tile .photo').naturalWidth") == 48
    assert page.locator(".tile rect[stroke]").count() > 0
    page.keyboard.press("End")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.closest('li').ariaPosInSet") == "2000"
    assert page.locator(".tile").count() < 100


def test_draws_boxes_where_the_record_says(watched: Watched, many: Path) -> None:
    page = watched.open(many)
    photo, rect = (page.locator(f".tile {part}").first.bounding_box() for part in (".photo", "rect[stroke]"))
    scale = photo["width"] / 60
    assert (rect["x"] - photo["x"]) / scale == pytest.approx(6, abs=0.5)
    assert (rect["y"] - photo["y"]) / scale == pytest.approx(4, abs=0.5)
    assert (rect["width"] / scale, rect["height"] / scale) == pytest.approx((30, 20), abs=0.7)


def test_filters_by_label_score_text_and_outcome(watched: Watched, many: Path) -> None:
    page = watched.open(many)
    good = [n for n in range(MANY) if n % 10 != 9]
    chosen(page, "cat").check()
    assert count(page) == f"{sum(n % 3 == 1 for n in good)} of 2,000"
    chosen(page, "dog").check()
    wanted = [n for n in good if n % 3 != 2]
    assert count(page) == f"{len(wanted):,} of 2,000"
    page.fill("#least", "0.5")
    wanted = [n for n in wanted if n / MANY >= 0.5]
    assert count(page) == f"{len(wanted):,} of 2,000"
    page.fill("#most", "0.75")
    wanted = [n for n in wanted if n / MANY <= 0.75]
    assert count(page) == f"{len(wanted):,} of 2,000"
    page.fill("#search", "3.PNG")
    wanted = [n for n in wanted if n % 4 == 3]
    assert count(page) == f"{len(wanted):,} of 2,000"
    page.click("#clear")
    assert count(page) == "2,000 of 2,000" and page.input_value("#search") == ""
    chosen(page, "Failed").check()
    assert count(page) == "200 of 2,000"
    page.fill("#search", "no such thing")
    assert count(page) == "0 of 2,000" and page.is_visible("#nothing") and page.locator(".tile").count() == 0


def test_keeps_the_focus_on_a_label_that_moves(watched: Watched, many: Path) -> None:
    page = watched.open(many)
    chosen(page, "dog").focus()
    page.keyboard.press("Space")
    assert page.evaluate("[document.activeElement.value, document.activeElement.checked]") == ["dog", True]


def test_counts_labels_beside_the_other_filters(watched: Watched, many: Path) -> None:
    page = watched.open(many, "#q=1.png&label=cat")
    good = [n for n in range(MANY) if n % 10 != 9 and n % 4 == 1]
    shown = page.evaluate("[...document.querySelectorAll('#labels li')].map((row) => row.innerText.split('\\n'))")
    assert {name: int(number) for name, number in shown} == {
        label: sum(LABELS[n % 3] == label for n in good) for label in LABELS
    }


def test_sorts(watched: Watched, many: Path) -> None:
    page = watched.open(many)
    good = [n for n in range(MANY) if n % 10 != 9]
    for order, first in (("high", good[::-1]), ("low", good), ("label", [n for n in good if n % 3 == 2])):
        page.select_option("#sort", order)
        assert names(page)[:8] == [f"{n % 4}.png" for n in first[:8]], order
    page.select_option("#sort", "few")
    assert names(page)[:3] == ["photo-9.png", "photo-19.png", "photo-29.png"]
    page.fill("#search", "photo")
    page.select_option("#sort", "name")
    assert names(page)[:3] == ["photo-9.png", "photo-19.png", "photo-29.png"]  # numbers by their value


def test_keeps_its_state_over_a_reload(watched: Watched, many: Path) -> None:
    page = watched.open(many)
    page.fill("#search", "1.png")
    chosen(page, "dog").check()
    page.select_option("#sort", "high")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("b")
    before = (count(page), names(page), hash_of(page))
    page.reload()
    assert (count(page), names(page), hash_of(page)) == before
    assert page.input_value("#search") == "1.png" and chosen(page, "dog").is_checked()
    assert page.get_attribute("#boxes", "aria-pressed") == "false" and not page.locator(".shapes").first.is_visible()
    watched.open(many, "#q=2.png")
    page.evaluate("location.hash = '#q=3.png'")
    wait(page, "document.getElementById('search').value === '3.png'")
    assert set(names(page)) == {"3.png"}


@pytest.mark.parametrize(
    "hash", ["#least=x&sort=none&size=&label=none&task=&open=99999", "#%%%", "#open=-1&most=Infinity"]
)
def test_takes_no_harm_from_a_strange_address(watched: Watched, many: Path, hash: str) -> None:
    assert count(watched.open(many, hash)) == "2,000 of 2,000"


def test_moves_by_keys(watched: Watched, many: Path) -> None:
    page = watched.open(many)
    columns = page.evaluate("columns")
    position = "document.activeElement.closest('li').ariaPosInSet"
    steps = [("ArrowDown", 1), ("ArrowRight", 2), ("ArrowDown", 2 + columns), ("ArrowLeft", 1 + columns)]
    steps += [("ArrowUp", 1), ("ArrowUp", 1), ("End", MANY), ("ArrowRight", MANY), ("Home", 1)]
    for key, place in steps:
        page.keyboard.press(key)
        assert page.evaluate(position) == str(place), key
    page.keyboard.press("PageDown")
    assert int(page.evaluate(position)) > columns
    assert page.evaluate("document.activeElement.getBoundingClientRect().bottom <= innerHeight")


def test_letters_toggle_and_search(watched: Watched, many: Path) -> None:
    page = watched.open(many)
    page.keyboard.press("f")
    assert count(page) == "200 of 2,000"
    page.keyboard.press("f")
    page.keyboard.press("/")
    page.keyboard.type("bmf?0.png")
    assert page.input_value("#search") == "bmf?0.png" and page.get_attribute("#boxes", "aria-pressed") == "true"
    page.fill("#search", "")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "tile"
    for key, name in (("b", "boxes"), ("m", "masks")):
        page.keyboard.press(key)
        assert page.get_attribute(f"#{name}", "aria-pressed") == "false"
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")


def test_opens_large_and_turns_over(watched: Watched, many: Path) -> None:
    page = watched.open(many)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.text_content("#position") == "2 of 2000" and page.text_content("#name") == "1.png"
    assert page.text_content(".plate") == "cat 0.00"
    wait(page, "document.querySelector('#pictures .photo').naturalWidth === 60")  # the photo itself
    page.keyboard.press("ArrowRight")
    assert page.text_content("#name") == "2.png" and "open=2" in hash_of(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.text_content("#name") == "0.png" and page.is_disabled("#previous")
    assert "open=0" in hash_of(page)
    page.reload()
    assert page.is_visible("#large")
    page.keyboard.press("Escape")
    assert not page.is_visible("#large") and "open" not in hash_of(page)
    assert page.evaluate("document.activeElement.className") == "tile"


def test_a_failure_is_told(watched: Watched, many: Path) -> None:
    page = watched.open(many, "#outcome=failed")
    assert page.locator(".tile .gone").first.text_content() == "no such file"
    page.locator(".tile").first.click()
    assert page.text_content("#sentence") == "damaged (cut short)"


def test_a_photo_that_has_gone_leaves_its_thumbnail(browser: Any, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png")
    page_file = made(tmp_path, [record("detect", "a.png", detections=[])])
    photo.unlink()
    watched = Watched(browser)
    page = watched.open(page_file)
    with page.expect_event("requestfailed"):
        page.locator(".tile").first.click()
    assert page.evaluate("document.querySelector('#pictures .photo').naturalWidth") == 48
    page.close()


def test_shows_every_task_of_mixed_records(watched: Watched, mixed: Path) -> None:
    page = watched.open(mixed)
    assert [page.locator(".tile").nth(n).locator(".photo").count() for n in range(6)] == [1, 1, 1, 2, 2, 2]
    assert page.locator(".tile .areas").count() == 1 and page.locator(".tile .split").count() == 2
    assert page.locator(".tile circle").count() == 10 and not page.is_visible("#range-part")
    chosen(page, "sobel").check()
    assert count(page) == "1 of 6" and page.text_content("#range-title") == "Largest value"
    assert page.get_attribute("#most", "max") == "9"


def test_search_finds_labels_beyond_the_best(watched: Watched, mixed: Path) -> None:
    page = watched.open(mixed, "#q=lynx")
    assert count(page) == "1 of 6" and "tabby" in page.text_content(".tile")


def test_masks_are_switched(watched: Watched, mixed: Path) -> None:
    page = watched.open(mixed, "#task=segment&open=2")
    areas = page.locator("#pictures .areas")
    assert areas.is_visible()
    page.keyboard.press("m")
    assert not areas.is_visible()


def test_slides_between_before_and_after(watched: Watched, mixed: Path) -> None:
    page = watched.open(mixed, "#open=3")
    clip = "document.querySelector('#pictures .after').style.clipPath"
    assert page.is_visible("#slider") and page.evaluate(clip) == "inset(0px 0px 0px 50%)"
    page.fill("#slider", "20")
    assert page.evaluate(clip) == "inset(0px 0px 0px 20%)"
    place = page.locator("#pictures .stack").bounding_box()
    page.mouse.click(place["x"] + 0.75 * place["width"], place["y"] + 9)
    assert float(page.input_value("#slider")) == pytest.approx(75, abs=1)
    page.focus("#slider")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#position") == "4 of 6"  # the slider has moved, not the page


def test_faces_stand_side_by_side(watched: Watched, mixed: Path) -> None:
    page = watched.open(mixed, "#open=5")
    first, second = (page.locator("#pictures figure").nth(n).bounding_box() for n in (0, 1))
    assert first["x"] + first["width"] <= second["x"]
    assert page.locator("#pictures figcaption").all_text_contents() == ["a.png", "b.png"]


def test_the_whole_record_is_a_table(watched: Watched, mixed: Path) -> None:
    page = watched.open(mixed, "#open=5")
    rows = dict(row.split("\t", 1) for row in page.inner_text("#record tbody").split("\n") if "\t" in row)
    assert rows["similarity_metric"] == "cosine" and rows["facial_areas \u203a img2 \u203a nose"] == "20, 20"


def test_hostile_names_are_text(watched: Watched, tmp_path: Path) -> None:
    texts = [*HOSTILE, "\udcff\ud800", "javascript:alert(3)", "{{script}}"]
    names_of_files = [text.replace("/", "\u2215") for text in texts]
    records = [
        record("detect", name, n, detections=[box(text, 0.5)], **{text: text})
        for n, (name, text) in enumerate(zip(names_of_files, texts, strict=True))
    ]
    page = watched.open(made(tmp_path, [*records, *(failed("detect", "x", text, detections=None) for text in texts)]))
    elements = page.evaluate("[...document.querySelectorAll('#tiles *, #labels *')].map((e) => e.localName)")
    assert set(elements) <= {"li", "button", "label", "input", "span", "div", "svg", "rect", "img"}
    assert page.locator("#planted, script:not([id]):not(:last-of-type), img:not([src^='data:'])").count() == 0
    assert any("\\u202e" in name for name in names(page)) and any("\\udcff" in name for name in names(page))
    for number in range(len(texts)):
        page.evaluate(f"open({number})")
        assert page.locator("#large script, #large b, #large img[onerror], #planted").count() == 0
    page.evaluate("close()")
    chosen(page, texts[0]).check()
    assert count(page) == f"1 of {2 * len(texts)}"
    assert "label=" in hash_of(page)
    page.reload()
    assert count(page) == f"1 of {2 * len(texts)}"
    watched.complaints = [
        text for text in watched.complaints if "ERR_FILE_NOT_FOUND" not in text
    ]  # opened without photos


@pytest.mark.parametrize("width", [360, 1600])
def test_fits_phones_and_desktops(browser: Any, mixed: Path, width: int) -> None:
    watched = Watched(browser, viewport={"width": width, "height": 740}, color_scheme="dark")
    page = watched.open(mixed)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.is_visible("#filters") == (width > 760)
    if width < 760:
        page.click("#open-filters")
        assert page.is_visible("#filters") and page.get_attribute("#open-filters", "aria-expanded") == "true"
    page.close()


def test_everything_that_is_pressed_has_a_name(watched: Watched, mixed: Path) -> None:
    page = watched.open(mixed)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter((e) => !(e.ariaLabel || e.textContent.trim()"
        " || e.closest('label')?.textContent.trim())).map((e) => e.outerHTML)"
    )
    assert unnamed == []
    assert page.locator("img:not([alt])").count() == 0
    spoken = json.loads(
        page.evaluate("JSON.stringify([...document.querySelectorAll('.tile')].map((e) => e.ariaLabel))")
    )
    assert spoken[1] == "a.png, detect, dog 0.9" and spoken[5] == "a.png and b.png, verify-face, same person 0.1"
