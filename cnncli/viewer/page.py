"""The page as a file: parts of HTML, styles and scripts, and JSON that can't end its element.

The scripts and the style are allowed by their SHA-256 alone, and pictures from data and from files: a page that is
opened asks the network for nothing, and nothing that a record holds can become a part of it.
"""

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any, BinaryIO

SCRIPTS = ("state.js", "filter.js", "grid.js", "large.js", "viewer.js")  # in the order in which they run, as one
PLACE = re.compile(r"\{\{(\w+)\}\}")
ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # all that is not ASCII is escaped by json


def as_json(value: Any) -> str:
    """JSON in ASCII that holds no character with a meaning in HTML. ValueError of numbers that JSON does not know."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character, escape in ESCAPED.items():
        text = text.replace(character, escape)
    return text


def block(name: str, value: Any) -> bytes:
    """An element that holds a value for the scripts to find by its name."""
    return f'<script type="application/json" id="{name}">{as_json(value)}</script>\n'.encode()


class PageWriter:
    """Writes a page as its entries come: the pictures of each, which are looked at when it is shown, then the index."""

    def __init__(self, file: BinaryIO, title: str):
        self._file = file
        self._index: list[dict[str, Any]] = []
        head, self._foot = _template(title)
        file.write(head)

    def add(self, summary: dict[str, Any], details: dict[str, Any]) -> None:
        """An entry: what it is found by, and what is shown of it."""
        self._file.write(block(f"entry-{len(self._index)}", details))
        self._index.append(summary)

    def finish(self) -> None:
        self._file.write(block("entries", self._index))
        self._file.write(self._foot)


def _template(title: str) -> tuple[bytes, bytes]:
    """What stands before the entries, and behind them."""
    style, script = _text("viewer.css"), "".join(_text(name) for name in SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data: file:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"title": html.escape(title), "policy": policy, "style": style, "script": script}
    head, foot = (PLACE.sub(lambda found: parts[found[1]], half) for half in _text("page.html").split("{{entries}}\n"))
    return head.encode("utf-8", "xmlcharrefreplace"), foot.encode()


def _text(name: str) -> str:
    return files("cnncli.viewer").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
