"""Aligned faces of photos, found once before training, as `verify-face` finds them in its own."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cnncli.engine.device import available_cpus
from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.errors import UsageError
from cnncli.imaging.faces import align
from cnncli.imaging.geometry import resize
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights, read_info
from cnncli.results.verify_face import PhotoFaces
from cnncli.tasks.verify_face import LANDMARKS, LEAST_COMPARED, FaceFinder, FaceOptions
from cnncli.train.photos import NAMED, read_photo
from cnncli.train.recipe import Notify

FACES, NONE = "faces", "none"
ALIGN = (FACES, NONE)
TEMPLATE_SIDE = 112  # px of the faces that the shipped template is made for


def template_of(size: int) -> list[list[float]]:
    """Where the five points lie in an aligned face of `size` x `size` px: (5, 2), that of the shipped embedder."""
    template = np.array(read_info(model_path("sface")).recipe["template"])
    return (template * (size / TEMPLATE_SIDE)).round(4).tolist()


def face_crops(paths: Sequence[str], size: int, how: str, max_pixels: int, notify: Notify) -> dict[str, np.ndarray]:
    """The face of each photo, uint8 (size, size, 3). Photos without a face are left out, with a message.

    `how`: "faces" finds and aligns it, "none" takes the whole photo for a face. UsageError where none has a face.
    """
    if how == NONE:
        return {path: resize(read_photo(path, max_pixels), size, size, "bilinear")[0] for path in paths}
    threads = available_cpus()
    finder = _Finder(size, threads)
    with ThreadPoolExecutor(threads) as pool:
        found = dict(
            zip(paths, pool.map(lambda path: finder.face_of(read_photo(path, max_pixels)), paths), strict=True)
        )
    lacking = [path for path, face in found.items() if face is None]
    if len(lacking) == len(found):
        raise UsageError(f"no face is found in any of the {len(found)} photos; if they are faces, say --set align=none")
    if lacking:
        more = " and others" if len(lacking) > NAMED else ""
        notify(
            f"{len(lacking)} of {len(found)} photos are left out, no face is found: {', '.join(lacking[:NAMED])}{more}"
        )
    return {path: face for path, face in found.items() if face is not None}


class _Finder:
    """The face task over its detector, one photo at a time; from any number of threads."""

    def __init__(self, size: int, threads: int):
        weights = load_weights(model_path("yunet"))
        self.size, self.template = size, np.array(template_of(size))
        self.task = FaceFinder({"find-face": weights.info}, FaceOptions(LANDMARKS, conf=LEAST_COMPARED))
        self.engine = OnnxEngine(weights, threads=1, parallel_calls=threads)

    def face_of(self, image: np.ndarray) -> np.ndarray | None:
        found = self._analyse(image).found
        if not found:
            return None
        return align(image, np.array(found[0].points), self.template, (self.size, self.size))

    def _analyse(self, image: np.ndarray) -> PhotoFaces:
        steps, outputs = self.task.analyse(image), None
        while True:
            try:
                request = steps.send(outputs)
            except StopIteration as end:
                return end.value
            outputs = {name: rows[0] for name, rows in self.engine.run(request.array[None]).items()}
