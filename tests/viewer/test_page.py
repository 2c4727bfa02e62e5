"""The file of a page: what it allows, and what can't get out of its place."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import pytest

from cnncli.viewer.page import PageWriter, as_json, block
from tests.viewer.conftest import HOSTILE


class Elements(HTMLParser):
    """The elements of a page and the text of each script, as a parser of HTML finds them."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.policy = ""
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self._open = tag
        self.texts.setdefault(tag, []).append("")
        named = dict(attrs)
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named["content"] or ""
        assert not any(name.startswith("on") or name == "style" for name in named)

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def page(title: str = "a title", entries: tuple[str, ...] = ("a", "b")) -> str:
    file = io.BytesIO()
    writer = PageWriter(file, title)
    for text in entries:
        writer.add({"name": text}, {"record": {"file": text}})
    writer.finish()
    return file.getvalue().decode()


@pytest.mark.parametrize(
    "text", [*HOSTILE, "&amp;", "<!--<script>", "\u2028\u2029", "\udcff", "caf\xe9 \U0001f600", "\0"]
)
def test_json_holds_nothing_of_html(text: str) -> None:
    written = as_json({text: [text]})
    assert written.isascii() and not set(written) & set("<>&")
    assert json.loads(written) == {text: [text]}


def test_json_is_strict() -> None:
    with pytest.raises(ValueError):
        as_json(float("nan"))


def test_block_is_one_element() -> None:
    found = Elements(block("entry-3", {"name": "</script><script>x"}).decode())
    assert found.names == ["script"] and json.loads("".join(found.texts["script"])) == {"name": "</script><script>x"}


def test_hostile_texts_make_no_elements() -> None:
    plain, hostile = Elements(page(entries=tuple("abcd"))), Elements(page(entries=HOSTILE))
    assert hostile.names == plain.names
    assert [entry["name"] for entry in json.loads(hostile.texts["script"][-2])] == list(HOSTILE)


@pytest.mark.parametrize("title", [*HOSTILE, "{{script}} {{policy}}", "\\1 \\g<0>", "Tom & Jerry"])
def test_title_is_text(title: str) -> None:
    found, plain = Elements(page(title)), Elements(page())
    assert found.names == plain.names and found.policy == plain.policy
    assert "".join(found.texts["title"]).startswith(title) and title in "".join(found.texts["h1"])


def test_title_of_bytes_that_are_no_text() -> None:
    assert "&#56575;" in page("\udcff")


def test_policy_allows_its_own_script_and_style_and_no_network() -> None:
    found = Elements(page())
    allowed = dict(part.strip().split(" ", 1) for part in found.policy.split(";"))
    assert allowed["default-src"] == "'none'" and allowed["img-src"] == "data: file:"
    for name, text in (("script", found.texts["script"][-1]), ("style", "".join(found.texts["style"]))):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[f"{name}-src"] == f"'sha256-{digest}'"


def test_scripts_read_nothing_as_html_and_ask_for_nothing() -> None:
    text = page()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "XMLHttpRequest"):
        assert word not in text
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+/", text) == ["http://www.w3.org/"]  # the name of SVG, no place
