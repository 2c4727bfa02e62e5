"""Pictures of a face, and the face cut out of them: one photo, turned, mirrored, scaled and repeated."""

import cv2
import numpy as np
from PIL import Image

from cnncli.imaging.faces import align
from cnncli.io.store import shipped_folder
from cnncli.io.weights import read_info
from tests.conftest import PHOTOS

# eyes, nose and corners of the mouth in astronaut.png, as OpenCV's FaceDetectorYN gives them, rounded
POINTS = np.array([[200.0, 102.0], [247.0, 103.0], [220.0, 125.0], [199.0, 143.0], [240.0, 144.0]])


def astronaut() -> np.ndarray:
    return np.asarray(Image.open(PHOTOS / "astronaut.png").convert("RGB"))


def pictures() -> dict[str, np.ndarray]:
    """Pictures with one face or two, uint8 (H, W, 3); most have sides that are no multiples of 32."""
    photo = astronaut()
    turn = cv2.getRotationMatrix2D((220, 120), 20, 1)
    return {
        "photo": photo,
        "mirrored": photo[:, ::-1].copy(),
        "half": photo[::2, ::2].copy(),
        "cut": photo[:301, :333].copy(),
        "turned": cv2.warpAffine(photo, turn, (512, 512), flags=cv2.INTER_NEAREST),
        "two": np.concatenate([photo[:, :400], photo[:, 399::-1]], axis=1),
    }


def small_picture() -> np.ndarray:
    """The face with sides that are multiples of 32: uint8 (128, 96, 3)."""
    return astronaut()[56:184, 160:256]


def chips(model: str) -> np.ndarray:
    """Aligned faces for a model's input, uint8 (4, H, W, 3): as it is, mirrored, darker, moved by 3 and 5 px."""
    recipe = read_info(shipped_folder() / f"{model}.safetensors").recipe
    chip = align(astronaut(), POINTS, np.array(recipe["template"]), tuple(recipe["input"]))
    return np.stack([chip, chip[:, ::-1], chip // 2, np.roll(chip, (3, 5), axis=(0, 1))])
