"""Sobel on a photo of 24 megapixels: cnncli beside the bare OpenCV calls, and the start of the command, in one run.

    python tests/bench/sobel.py [--repeat 7]

Four ratios: the filter alone (both derivatives and their magnitude of a grey array), the whole command beside a
script of bare OpenCV calls (read, grey, derivatives, magnitude, write) on one photo and on eight, and the cold start on
a small photo beside a Typer command that imports cv2 and prints a line.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from cnncli.imaging.filters import derivatives, gradient, response_bound

PHOTO = Path(__file__).resolve().parents[1] / "photos" / "coffee.png"
WIDTH, HEIGHT = 6000, 4000
SEVERAL = 8
BARE = """
import sys, cv2
for number, path in enumerate(sys.argv[2:]):
    grey = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2GRAY)
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    cv2.imwrite(f"{sys.argv[1]}/{number}.png", cv2.convertScaleAbs(cv2.magnitude(gx, gy)))
"""
HELLO = """
import cv2, typer
app = typer.Typer()
@app.command()
def hello(name: str) -> None:
    print("hello", name, cv2.__version__)
app()
"""


def bare(grey: np.ndarray) -> np.ndarray:
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return cv2.magnitude(gx, gy)


def ours(grey: np.ndarray) -> np.ndarray:
    gx, gy = derivatives(grey, "3", "reflect101")
    return gradient(gx, gy, "magnitude", response_bound("3", 255))


def medians(programs: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Median seconds of each, run in turn so that a busy machine is busy for all; the first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeat + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def command(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    photo = cv2.resize(cv2.imread(str(PHOTO)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    with tempfile.TemporaryDirectory() as name:
        large, small, out = f"{name}/large.jpg", f"{name}/small.jpg", f"{name}/out.png"
        cv2.imwrite(large, photo)
        cv2.imwrite(small, cv2.resize(photo, (60, 40), interpolation=cv2.INTER_AREA))
        cnncli = [sys.executable, "-m", "cnncli", "sobel"]
        programs = {
            "filter, cnncli": lambda: ours(grey),
            "filter, OpenCV": lambda: bare(grey),
            "one of 24 MP, cnncli": command(*cnncli, large, "--out", out, "--overwrite"),
            "one of 24 MP, OpenCV": command(sys.executable, "-c", BARE, name, large),
            "eight of 24 MP, cnncli": command(*cnncli, *[large] * SEVERAL, "--out-dir", f"{name}/d", "--overwrite"),
            "eight of 24 MP, OpenCV": command(sys.executable, "-c", BARE, name, *[large] * SEVERAL),
            "photo of 60 x 40, cnncli": command(*cnncli, small, "--out", out, "--overwrite"),
            "photo of 600 x 400, cnncli": command(*cnncli, str(PHOTO), "--out", out, "--overwrite"),
            "Typer command with cv2": command(sys.executable, "-c", HELLO, "world"),
        }
        found = medians(programs, repeat)
    for label, seconds in found.items():
        print(f"{seconds:7.3f} s  {label}")
    print(f"speed of the filter / bare OpenCV: {found['filter, OpenCV'] / found['filter, cnncli']:.2f}")
    for label in ("one", "eight"):
        whole = found[f"{label} of 24 MP, OpenCV"] / found[f"{label} of 24 MP, cnncli"]
        print(f"speed of the command / script of bare OpenCV, {label} of 24 MP, start-up included: {whole:.2f}")
    for size in ("60 x 40", "600 x 400"):
        start = found[f"photo of {size}, cnncli"] / found["Typer command with cv2"]
        print(f"cold start with a photo of {size} / Typer command with cv2: {start:.2f}")


if __name__ == "__main__":
    main()
