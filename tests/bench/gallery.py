"""The page of `cnncli gallery` over 2,000 records with as many photos: how long it takes to make, to open, to filter.

    python -m tests.bench.gallery [--records 2000] [--repeat 5]

Photos are 640 x 480 cut-outs of the example photos, no two alike. Opening is measured in headless Chromium (playwright)
from the start of the navigation until the first tiles stand decoded on the screen, filtering from the input event until
the frame after it has been painted. The bound of making the page is Pillow alone: reduced decoding, resizing, WebP.
"""

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from tests.viewer.browser import chromium

PHOTOS = Path(__file__).resolve().parents[1] / "photos"
LABELS = ("person", "cat", "cup", "spoon", "boat", "dog", "car", "bus", "bird", "bottle")
OPENING_LIMIT, FILTER_LIMIT = 2000, 200  # ms
DRAWN = """() => new Promise((resolve) => {
    const look = () => {
        const photos = [...document.querySelectorAll('.tile .photo')];
        if (!photos.length) return void requestAnimationFrame(look);
        Promise.all(photos.map((photo) => photo.decode())).then(() =>
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))));
    };
    look();
})"""
FILTERED = """(text) => new Promise((resolve) => {
    const start = performance.now();
    const field = document.getElementById('search');
    field.value = text;
    field.dispatchEvent(new InputEvent('input', { bubbles: true }));
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
})"""


def write_photos(folder: Path, count: int) -> list[Path]:
    """Cut-outs of the example photos, each with its own place and size."""
    chance = random.Random(1)
    sources = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.[jp][pn]g"))]
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        source = sources[number % len(sources)]
        width = chance.uniform(0.4, 0.95) * source.width
        height = min(0.75 * width, source.height)
        left, top = chance.uniform(0, source.width - width), chance.uniform(0, source.height - height)
        source.resize((640, 480), box=(left, top, left + width, top + height)).save(path, quality=88)
    return paths


def write_records(path: Path, photos: list[Path]) -> None:
    chance = random.Random(2)
    with path.open("w") as file:
        for index, photo in enumerate(photos):
            found = [
                (
                    chance.choice(LABELS),
                    round(chance.random(), 4),
                    [chance.randrange(400), chance.randrange(300), 160, 120],
                )
                for _ in range(3)
            ]
            detections = [dict(zip(("label", "score", "bbox"), entry, strict=True)) for entry in found]
            record = {"schema": "cnncli.detect/1", "file": str(photo), "index": index, "ok": True, "failure": None}
            file.write(json.dumps({**record, "width": 640, "height": 480, "detections": detections}) + "\n")


def pillow_alone(path: Path) -> int:
    with Image.open(path) as image:
        image.draft(None, (512, 512))
        image.thumbnail((256, 256), Image.Resampling.LANCZOS, reducing_gap=1.5)
        file = io.BytesIO()
        image.save(file, "WEBP", quality=80, method=2)
    return len(file.getvalue())


def seconds_of_pillow(photos: list[Path]) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        sum(pool.map(pillow_alone, photos))
    return time.perf_counter() - start


def seconds_of_gallery(records: Path, page: Path) -> float:
    program = "from pathlib import Path; from cnncli.cli.gallery import gallery_command; import sys;"
    program += "sys.exit(gallery_command([sys.argv[1]], Path(sys.argv[2]), overwrite=True))"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, str(records), str(page)], check=True)
    return time.perf_counter() - start


def browse(page_file: Path, repeat: int) -> tuple[list[float], list[float]]:
    """Milliseconds to open the page, and to filter it: by each label in turn, and by none."""
    opening, filtering = [], []
    with chromium() as browser:
        for _ in range(repeat):
            page: Any = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(page_file.as_uri(), wait_until="commit")
            opening.append(page.evaluate(DRAWN))
            filtering += [page.evaluate(FILTERED, text) for text in (*LABELS, "")]
            page.close()
    return opening, filtering


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = write_photos(folder, given.records)
        write_records(folder / "run.jsonl", photos)
        making = seconds_of_gallery(folder / "run.jsonl", folder / "page.html")
        bound = seconds_of_pillow(photos)
        size = (folder / "page.html").stat().st_size
        opening, filtering = browse(folder / "page.html", given.repeat)
    each = f"{size / 1e6:.1f} MB, {size / given.records / 1e3:.1f} kB a record"
    print(f"{given.records} records: {making:.2f} s to write, {each}")
    print(f"time of Pillow alone / of the command: {bound / making:.2f}")
    for what, times, limit in (("open", opening, OPENING_LIMIT), ("filter", filtering, FILTER_LIMIT)):
        print(f"{statistics.median(times):6.0f} ms to {what}, at most {max(times):.0f} (limit {limit})")


if __name__ == "__main__":
    main()
