"""Photos of 12 megapixels: `cnncli classify` with reduced decoding and with `--decode full`, in turns.

    python tests/bench/large_photos.py [FOLDER] [--count 24]

Without a folder of large JPEGs, cut-outs of the example photos are enlarged and given a camera's noise. Prints photos
per second of the whole command, their ratio, and how far the reported scores move.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS = Path(__file__).resolve().parents[1] / "photos"
SIZE = (4000, 3000)
NOISE = 3.0  # levels of 255


def make(folder: Path, count: int) -> None:
    names = sorted(path for path in PHOTOS.iterdir() if path.suffix in (".png", ".jpg"))
    rng = np.random.default_rng(0)
    for number in range(count):
        with Image.open(names[number % len(names)]) as photo:
            width = photo.width * (60 + number % 40) // 100
            left, top = rng.integers(0, photo.width - width + 1), 0
            part = photo.convert("RGB").crop((left, top, left + width, top + min(photo.height, width * 3 // 4)))
        pixels = np.asarray(part.resize(SIZE, Image.Resampling.BICUBIC)) + rng.normal(0, NOISE, (*SIZE[::-1], 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.jpg", quality=90)


def run(folder: Path, decode: str) -> tuple[float, list[dict[str, float]]]:
    """Seconds, and the scores by label of each photo."""
    command = [sys.executable, "-m", "cnncli", "classify", str(folder), "--decode", decode, "-q", "--format", "jsonl"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=True)
    seconds = time.perf_counter() - start
    found = [json.loads(line)["classes"] for line in done.stdout.splitlines()]
    return seconds, [{entry["label"]: entry["score"] for entry in classes} for classes in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        if options.folder is None:
            make(folder, options.count)
        times: dict[str, list[float]] = {"auto": [], "full": []}
        for _ in range(options.rounds):
            for decode, seconds in times.items():
                elapsed, scores = run(folder, decode)
                seconds.append(elapsed)
                if decode == "auto":
                    reduced = scores
        pairs = list(zip(reduced, scores, strict=True))
        moved = [abs(one[name] - other[name]) for one, other in pairs for name in one.keys() & other.keys()]
        fast, slow = (len(scores) / statistics.median(times[decode]) for decode in ("auto", "full"))
        print(f"{len(scores)} photos: {fast:.1f} photos/s, decoded whole {slow:.1f}, ratio {fast / slow:.2f}")
        print(f"scores move by {np.mean(moved):.4f} on average, at most {max(moved):.4f}")


if __name__ == "__main__":
    main()
