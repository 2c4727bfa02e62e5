"""Classification: resize and crop as the weights' recipe says, softmax, the best labels."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cnncli.config import check_choice
from cnncli.errors import UsageError
from cnncli.imaging.draw import caption_lines
from cnncli.imaging.geometry import resize_and_crop
from cnncli.io.encoded import EncodedPhoto, decode_later
from cnncli.io.images import Photo, decode, decode_reduced
from cnncli.io.pictures import Picture
from cnncli.io.weights import ModelInfo
from cnncli.results.classify import Classification, Embedding, Label
from cnncli.tasks.base import DECODING, BaseTask, Options, Outputs, Request, finite
from cnncli.tasks.labels import class_indices, class_labels

DEVICE_FILTERS = ("bilinear", "bicubic")  # what torch resizes with as Pillow does, antialiased
MOST_SHRINKING = 64  # times: torch holds a filter's weights in 48 kB of a GPU, which is enough for bicubic up to 90


@dataclass(frozen=True)
class ClassifyOptions(Options):
    """`classes` limits the answer to these names; `labels` are other names, one for each class of the model.

    `decode` "auto": JPEGs far larger than the network's input are decoded in a reduced size; "full": never;
    "device": JPEGs are decoded, resized and cropped on the device (nn.photos).
    """

    top_k: int = 5
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    embed: bool = False
    decode: str = "auto"

    @property
    def roles(self) -> tuple[str, ...]:
        return ("classify",)

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise UsageError(f"--top-k {self.top_k}: at least 1 label is needed")
        check_choice("--decode", self.decode, DECODING)


class Classify(BaseTask):
    """Top labels of a photo, or with `embed` the features that they are computed from."""

    name: ClassVar[str] = "classify"

    def __init__(self, models: Mapping[str, ModelInfo], options: ClassifyOptions):
        self.model = models["classify"]
        self.options = options
        self.result_key = "features" if options.embed else "classes"
        self.labels = class_labels(self.model, options.labels)
        self.wanted = class_indices(self.labels, options.classes)
        if options.decode == "device" and self.model.recipe["filter"] not in DEVICE_FILTERS:
            resampling = self.model.recipe["filter"]
            raise UsageError(f"--decode device: {self.model.name} is for '{resampling}', which only the CPU resizes by")
        self.columns = ("features",) if options.embed else _columns(min(options.top_k, len(self.wanted)))

    def decode(self, content: bytes, max_pixels: int) -> Photo:
        """The photo, no larger than the network's resize can tell."""
        if self.options.decode == "full":
            return decode(content, max_pixels)
        side = self.model.recipe["resize"]
        if self.options.decode == "device":
            return decode_later(content, max_pixels, MOST_SHRINKING * side)
        return decode_reduced(content, max_pixels, side)

    def analyse(self, image: np.ndarray | EncodedPhoto) -> Generator[Request, Outputs, Classification | Embedding]:
        outputs = yield Request("classify", image if isinstance(image, EncodedPhoto) else self.prepare(image))
        return self.interpret(outputs)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The network's input: uint8 (height, width, 3)."""
        recipe = self.model.recipe
        pixels, _ = resize_and_crop(image, recipe["resize"], tuple(recipe["input"]), recipe["filter"])
        return pixels

    def interpret(self, outputs: Outputs) -> Classification | Embedding:
        """From logits (classes,) and features (F,) to a result."""
        if self.options.embed:
            return Embedding(finite(outputs["features"]).astype(np.float32))
        scores = softmax(finite(outputs["logits"]))
        return Classification(tuple(top_labels(scores, self.labels, self.options.top_k, self.wanted)))

    def draw(self, photo: Photo, result: Classification, suffix: str) -> Picture:
        return Picture(caption_lines(photo.pixels, [(entry.label, entry.score) for entry in result.classes]))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits (classes,)."""
    logits = logits.astype(np.float32)  # before exp: half precision ties the top classes
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def top_labels(
    scores: np.ndarray, labels: tuple[str, ...], count: int, wanted: np.ndarray | None = None
) -> list[Label]:
    """The `count` best of scores (classes,), best first; equal scores in the order of the classes."""
    candidates = np.arange(len(scores)) if wanted is None else wanted
    order = candidates[np.argsort(-scores[candidates], kind="stable")][:count]
    return [Label(labels[index], int(index), float(scores[index])) for index in order]


def _columns(count: int) -> tuple[str, ...]:
    return tuple(f"{name}_{number}" for number in range(1, count + 1) for name in ("label", "index", "score"))
