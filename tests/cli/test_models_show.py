"""`cnncli models list` and `models show`."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cnncli.catalog import MODELS


def test_list_names_every_model_with_its_cost(here) -> None:
    entries = json.loads(here("models", "list", "--format", "json").stdout)
    assert {entry["model"] for entry in entries} == set(MODELS)
    lite = next(entry for entry in entries if entry["model"] == "efficientnet_lite0")
    assert (lite["parameters"], lite["macs"], lite["input"]) == (4_652_008, 385_187_552, "3x224x224")
    assert (lite["where"], lite["licence"], lite["measured"]["top1"]) == ("shipped", "Apache-2.0", 88.3)
    text = here("models", "list").stdout.decode()
    assert all(name in text for name in MODELS)


@pytest.mark.parametrize(
    ("options", "models"),
    [
        (["--task", "segment"], {"deeplabv3_mobilenetv2", "u2netp"}),
        (["--task", "embed-face"], {"sface", "dlib_resnet29"}),
        (["--licence", "cc0"], {"dlib_resnet29"}),
        (["--backbone", "efficientnet_lite2"], {"efficientnet_lite2", "efficientdet_lite2"}),
        (["--backbone", "resnet50", "--pullable"], None),
    ],
)
def test_list_filters(options: list[str], models: set[str] | None, here) -> None:
    done = here("models", "list", *options, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    if models is None:
        assert "resnet50.IMAGENET1K_V2" in {row["model"] for row in rows if row["where"] == "to fetch"}
        assert {int(row["parameters"]) for row in rows if row["model"].startswith("resnet50.")} == {25_557_032}
    else:
        assert {row["model"] for row in rows} == models


def test_list_imports_no_torch() -> None:
    code = "import sys; from cnncli.cli.app import run; run(['models', 'list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_show_gives_the_same_in_every_format(here) -> None:
    shown = json.loads(here("models", "show", "lenet5", "--classes", "10", "--format", "json").stdout)
    assert shown["total"]["parameters"] == 61_706 + 300
    rows = list(
        csv.DictReader(
            io.StringIO(here("models", "show", "lenet5", "--classes", "10", "--format", "csv").stdout.decode())
        )
    )
    assert [int(row["parameters"]) for row in rows] == [layer["parameters"] for layer in shown["layers"]]
    assert [row["output"] for row in rows] == [" x ".join(map(str, layer["output"])) for layer in shown["layers"]]
    markdown = here("models", "show", "lenet5", "--classes", "10", "--format", "markdown").stdout.decode().splitlines()
    assert len(markdown) == len(rows) + 3
    assert all(line.count("|") == markdown[0].count("|") for line in markdown)
    assert "62,006" in here("models", "show", "lenet5", "--classes", "10").stdout.decode().splitlines()[-1]


def test_show_takes_models_files_and_other_inputs(here, tmp_path: Path) -> None:
    shown = json.loads(here("models", "show", "efficientdet_lite0", "--format", "json").stdout)
    assert (shown["input"], shown["total"]["parameters"]) == ([3, 320, 320], 3_219_518)
    shown = json.loads(here("models", "show", "resnet18", "--input", "3x64x96", "--format", "json").stdout)
    assert shown["layers"][0]["output"] == [64, 32, 48]
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (32, 32), (60 * number, 0, 0)).save(tmp_path / "photos" / label / f"{number}.png")
    options = ["--backbone", "lenet5", "--epochs", "1", "--threads", "1", "--out", "run"]
    assert here("train", "classify", "photos", *options).returncode == 0
    shown = json.loads(here("models", "show", "run/best.safetensors", "--format", "json").stdout)
    assert shown["layers"][-1]["output"] == [2]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["show", "resnet5"], 2, "there is no network 'resnet5'; perhaps resnet50"),
        (["show", "vgg19", "--input", "1x224x224"], 2, "vgg19 takes 3 channels"),
        (["show", "vgg19", "--input", "3x16x16"], 2, "too few for vgg19"),
        (["show", "vgg19", "--input", "big"], 2, "write channels, height and width"),
        (["show", "sface", "--input", "3x64x64"], 2, "its own size is 112x112"),
        (["show", "efficientnet_lite0", "--classes", "5"], 2, "has 1000 of its own"),
        (["show", "vgg19", "--format", "xml"], 2, "choose table, json, csv or markdown"),
        (["show", "none.safetensors"], 3, "no such weights file"),
        (["list", "--task", "paint"], 2, "--task paint: choose classify"),
    ],
)
def test_refuses(words: list[str], code: int, sentence: str, here) -> None:
    done = here("models", *words)
    assert done.returncode == code
    assert done.stdout == b""
    assert sentence in done.stderr.decode()
