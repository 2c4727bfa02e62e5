"""Cut-outs of `cnncli segment --foreground` beside rembg's with the same weights, in one run.

    python tests/bench/foreground.py FOLDER [--repeat 3]

rembg (PyPI `rembg[cpu]`, in any environment) is named by REMBG=/that/environment/bin/rembg; its u2netp.onnx is looked
for where U2NET_HOME says, so that nothing is fetched. Printed: how far the mattes of the folder's photos differ (of
255), and the ratio of the times for one photo and for the folder.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def seconds(program: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        program()
        times.append(time.perf_counter() - start)
    return min(times)


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def compare(ours: Path, theirs: Path) -> None:
    """The differences of two folders of mattes of the same names."""
    means, largest, agree = [], [], []
    for path in sorted(ours.glob("*.png")):
        first, second = (np.asarray(Image.open(folder / path.name).convert("L"), np.int16) for folder in (ours, theirs))
        difference = np.abs(first - second)
        means.append(difference.mean())
        largest.append(difference.max())
        agree.append(((first >= 128) == (second >= 128)).mean())
    print(f"{len(means)} mattes: mean difference {np.mean(means):.3f} of 255, largest {max(largest)}")
    print(f"pixels on the same side of one half: {100 * np.mean(agree):.3f} %, in the worst {100 * min(agree):.3f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    rembg = os.environ["REMBG"]
    cnncli = [sys.executable, "-m", "cnncli", "segment", "--foreground"]
    photos = sorted(path for path in arguments.folder.iterdir() if path.suffix in (".jpg", ".png"))
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name, "ours"), Path(name, "theirs")
        theirs.mkdir()
        folder = {
            "cnncli": lambda: run(*cnncli, str(arguments.folder), "--out-dir", str(ours), "--overwrite"),
            "rembg": lambda: run(rembg, "p", "-m", "u2netp", "-om", str(arguments.folder), str(theirs)),
        }
        single = {
            "cnncli": lambda: run(*cnncli, str(photos[0]), "--out", f"{name}/one.png", "--overwrite"),
            "rembg": lambda: run(rembg, "i", "-m", "u2netp", "-om", str(photos[0]), f"{name}/other.png"),
        }
        for label, programs in (("one photo", single), (f"folder of {len(photos)}", folder)):
            times = {program: seconds(call, arguments.repeat) for program, call in programs.items()}
            ratio = times["cnncli"] / times["rembg"]
            print(f"{label}: cnncli {times['cnncli']:.2f} s, rembg {times['rembg']:.2f} s, ratio {ratio:.2f}")
        compare(ours, theirs)


if __name__ == "__main__":
    main()
