"""`cnncli models shape` as a user calls it."""

import csv
import io
import json

import pytest


def answer(here, arguments: str) -> str:
    done = here("models", "shape", *arguments.split())
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def test_shows_formula_and_costs(here) -> None:
    text = answer(here, "--input 1x280x320 --kernel 1x2 --no-bias")
    assert "floor((320 - 1 (2 - 1) - 1 + 0) / 1) + 1 = 319" in text
    lines = {line.split("  ")[0]: line.split()[-3:] for line in text.splitlines()[-4:]}
    assert lines["matrix entries"] == ["-", "178,640", "8,003,072,000"]
    assert lines["operations"][0] == "267,960"
    assert max(len(line) for line in text.splitlines()[-5:]) <= 80


def test_json_of_every_setting(here) -> None:
    options = "--kernel 3x5 --stride 2 --padding 1x2 --dilation 1x2 --groups 2 --out-channels 6"
    figures = json.loads(answer(here, f"--input 4x9x20 {options} --format json"))
    assert figures["output"] == [6, 5, 8]
    assert figures["padding"] == [[1, 1], [2, 2]]
    assert figures["convolution"] == {
        "entries": None,
        "parameters": 3 * 5 * 2 * 6 + 6,
        "multiply_adds": 3 * 5 * 2 * 6 * 5 * 8,
        "operations": 2 * 3 * 5 * 2 * 6 * 5 * 8,
    }
    assert figures["fully_connected"]["entries"] == 4 * 9 * 20 * 6 * 5 * 8


def test_same_and_transposed(here) -> None:
    same = json.loads(answer(here, "--input 1x7x8 --kernel 4x3 --padding same --format json"))
    assert same["output"] == [1, 7, 8]
    assert same["padding"] == [[1, 2], [1, 1]]
    options = "--transposed --stride 2 --padding 1 --output-padding 1 --format json"
    assert json.loads(answer(here, f"--input 1x7x8 {options}"))["output"] == [1, 14, 16]


def test_csv_and_markdown_hold_the_same(here) -> None:
    rows = list(csv.DictReader(io.StringIO(answer(here, "--input 1x224x224 --format csv"))))
    assert [row["parameters"] for row in rows] == ["10", "10", "2472923268"]
    assert rows[0]["entries"] == ""
    marked = answer(here, "--input 1x224x224 --format markdown").splitlines()
    assert [line.split("|")[3].strip() for line in marked[-3:]] == ["10", "10", "2,472,923,268"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--input 1x2x2", "kernel height 3: reaches over 3 cells"),
        ("--input 2x2", "--input 2x2: give channels x height x width"),
        ("--input 1x5x5 --kernel 0", "kernel height 0"),
        ("--input 1x5x5 --kernel 3x3x3", "--kernel 3x3x3"),
        ("--input 1x5x5 --stride 1.5", "--stride 1.5"),
        ("--input 1x5x5 --padding same --stride 2", "stride 1 alone"),
        ("--input 1x5x5 --padding same --transposed", "--padding same"),
        ("--input 3x5x5 --groups 2", "groups 2: must divide the 3 input channels"),
        ("--input 1x5x5 --transposed --output-padding 1", "output padding height 1"),
        ("--input 1x5x5 --format jsonl", "--format jsonl"),
    ],
)
def test_refuses(arguments: str, named: str, here) -> None:
    done = here("models", "shape", *arguments.split())
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.decode().count("\n") == 1
    assert named in done.stderr.decode()
