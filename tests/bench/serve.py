"""What a loop over photos takes with and without `cnncli serve`, in turns.

    python tests/bench/serve.py [--photos 20] [--turns 3]

The loop is a shell's: for f in *.jpg; do cnncli classify "$f"; done. Both kinds run in turns, so that a busy machine is
busy for both; the ratio is that of the medians. Exits with 1 where it is below 4, or where the records differ.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

PHOTO = Path(__file__).resolve().parents[1] / "photos" / "rocket.jpg"
LEAST_RATIO = 4.0
LOOP = 'for f in *.jpg; do "$PYTHON" -m cnncli classify "$f"; done'


def make_photos(folder: Path, count: int) -> None:
    """As many different crops of one photo."""
    with Image.open(PHOTO) as photo:
        for number in range(count):
            photo.crop((number, 0, photo.width - count + number, photo.height)).save(folder / f"{number:03}.jpg")


def loop(folder: Path, environment: dict[str, str]) -> tuple[float, bytes]:
    """Seconds that the loop takes, and what it prints."""
    start = time.perf_counter()
    done = subprocess.run(["sh", "-c", LOOP], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    cnncli = [sys.executable, "-m", "cnncli"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photos(folder, arguments.photos)
        served = {**os.environ, "XDG_RUNTIME_DIR": name, "PYTHON": sys.executable}
        served |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}  # as when installed
        alone = {**served, "CNNCLI_SERVER": "off"}
        subprocess.run([*cnncli, "serve", "classify", "--background"], env=served, check=True)
        try:
            loop(folder, alone), loop(folder, served)
            turns = [(loop(folder, alone), loop(folder, served)) for _ in range(arguments.turns)]
            state = subprocess.run([*cnncli, "serve", "--status"], env=served, check=True, capture_output=True).stdout
        finally:
            subprocess.run([*cnncli, "serve", "--stop"], env=served, check=True)
    return report(turns, arguments.photos, state.decode())


def report(turns: list[tuple[tuple[float, bytes], tuple[float, bytes]]], photos: int, state: str) -> int:
    without, with_server = (statistics.median(turn[kind][0] for turn in turns) / photos for kind in (0, 1))
    same = all(turn[0][1] == turn[1][1] for turn in turns)
    print(f"without the server: {without * 1000:6.1f} ms a photo")
    print(f"with the server:    {with_server * 1000:6.1f} ms a photo")
    print(f"ratio: {without / with_server:.2f}; records {'the same' if same else 'DIFFERENT'}; {state.strip()}")
    return 0 if same and without / with_server >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
