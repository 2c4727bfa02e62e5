"""Photos of coloured rectangles and dots on grey grain, with COCO's JSON or a CSV beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = ({"id": 7, "name": "red"}, {"id": 3, "name": "blue"})
COLOURS = {7: (220, 40, 40), 3: (40, 60, 220)}
WIDTH, HEIGHT = 96, 72

Mark = tuple[int, tuple[int, int, int, int]]  # category, x y width height
SCENES: tuple[tuple[Mark, ...], ...] = (
    ((7, (8, 12, 40, 30)),),
    ((3, (50, 20, 36, 44)),),
    ((7, (4, 30, 30, 40)), (3, (48, 6, 44, 34))),
)


def write_coco(folder: Path, scenes: tuple[tuple[Mark, ...], ...] = SCENES, name: str = "annotations") -> Path:
    """A folder with one photo for each scene in `images/` (or, of `instances_PART`, in PART/) and its JSON."""
    images = folder / (name.rpartition("_")[2] if "_" in name else "images")
    images.mkdir(parents=True, exist_ok=True)
    listed: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes):
        file = f"{name}-{number}.png"
        Image.fromarray(picture(scene, seed=number + len(name))).save(images / file)
        listed.append({"id": 10 + number, "file_name": file, "width": WIDTH, "height": HEIGHT})
        for category, box in scene:
            marks.append({"image_id": 10 + number, "category_id": category, "bbox": list(box)})
    content = {"images": listed, "annotations": marks, "categories": list(CATEGORIES)}
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def write_points(folder: Path, places: list[list[tuple[int, int]]], seed: int = 0) -> Path:
    """A folder with one photo for each list of points, a dot of another colour each, and `landmarks.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["file," + ",".join(f"x{number},y{number}" for number in range(1, len(places[0]) + 1))]
    for number, points in enumerate(places):
        pixels = grain(seed + number)
        for (x, y), colour in zip(points, COLOURS.values(), strict=True):
            pixels[y - 3 : y + 4, x - 3 : x + 4] = colour
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"{number}.png," + ",".join(f"{x},{y}" for x, y in points))
    (folder / "landmarks.csv").write_text("\n".join(rows) + "\n")
    return folder


def picture(scene: tuple[Mark, ...], seed: int) -> np.ndarray:
    pixels = grain(seed)
    for category, (x, y, width, height) in scene:
        pixels[y : y + height, x : x + width] = COLOURS[category]
    return pixels


def grain(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 160, (HEIGHT, WIDTH, 3), dtype=np.uint8)
