"""Words become the options of the command line: same types, same run."""

from pathlib import Path

import pytest

from cnncli.cluster.settings import settings
from cnncli.errors import UsageError


@pytest.mark.parametrize(
    ("task", "words", "expected"),
    [
        ("classify", ["top_k=3", "embed=true"], {"top_k": 3, "embed": True}),
        ("detect", ["conf=1", "classes=dog, cat", "tile=none"], {"conf": 1.0, "classes": ("dog", "cat"), "tile": None}),
        ("detect", ["max-det=7", "tile=640"], {"max_det": 7, "tile": 640}),
        ("segment", ["scales=0.5,1"], {"scales": (0.5, 1.0)}),
        ("sobel", ["threshold=auto", "kernel=3"], {"threshold": "auto", "kernel": "3"}),
        ("sobel", ["threshold=12"], {"threshold": 12.0}),
        ("classify", ["model=efficientnet_lite0", "weights=none"], {"model": "efficientnet_lite0", "weights": None}),
    ],
)
def test_values_have_the_types_of_the_options(task: str, words: list[str], expected: dict) -> None:
    found = settings(task, words)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


def test_a_weights_file_is_found_from_any_folder() -> None:
    assert settings("classify", ["weights=a.safetensors"]) == {"weights": Path.cwd() / "a.safetensors"}


@pytest.mark.parametrize(
    ("task", "word", "match"),
    [
        ("divine", "", "choose from classify"),
        ("classify", "top_k", "NAME=VALUE"),
        ("classify", "top_k=many", "give int"),
        ("classify", "embed=perhaps", "give bool"),
        ("classify", "conf=1", "no option conf; choose from .*top_k"),
        ("classify", "shard=0/2", "no option shard"),
    ],
)
def test_rejects(task: str, word: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        settings(task, [word])
