"""Photos decoded and shaped on a device: JPEG bytes in, a classifier's or a detector's input out.

Resizing is that of `imaging.geometry`: Pillow's antialiased filters to one grey level in some thousand pixels,
OpenCV's plain bilinear exactly where it shrinks. What moves scores is nvJPEG, which decodes on NVIDIA's GPUs: it
enlarges stored colours and rounds in another way than libjpeg-turbo.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnncli.errors import DeviceError, NotDecodedError
from cnncli.imaging.geometry import crop_start, letterbox_geometry, short_side_size
from cnncli.io.encoded import EncodedPhoto
from cnncli.io.images import TURNED

try:
    from torchvision.io import ImageReadMode, decode_jpeg
except ImportError as error:  # torchvision means to leave decoding to another package
    raise DeviceError("--decode device: this torchvision decodes no JPEGs; leave --decode out") from error

NO_FAULT_OF_PHOTOS = (torch.OutOfMemoryError, torch.AcceleratorError)  # RuntimeErrors too


class Front(nn.Module, ABC):
    """Encoded photos to uint8 (N, height, width, 3) on the module's device.

    NotDecodedError with those that its decoder can't read, or whose pixels are not of the size that they state.
    """

    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("place", torch.empty(0), persistent=False)  # goes where the module goes

    def forward(self, photos: Sequence[EncodedPhoto]) -> Tensor:
        decoded = decode_photos(photos, self.place.device)
        shaped = []
        for photo in photos:
            pixels = upright(decoded.pop(0), photo.orientation)  # popped: a batch of whole photos takes gigabytes
            shaped.append(self.shaped(pixels).to(torch.uint8))
        return torch.stack(shaped).permute(0, 2, 3, 1).contiguous()

    @abstractmethod
    def shaped(self, pixels: Tensor) -> Tensor:
        """A photo uint8 (3, H, W) as the network's input (3, height, width), whole numbers 0..255 of any type."""


class ResizedCrop(Front):
    """As `imaging.geometry.resize_and_crop`: the short side becomes `short`, of that the centre `crop` (height, width).

    First across, then down, to whole numbers in between, as Pillow does: at hard edges bicubic goes beyond 0..255.
    """

    def __init__(self, short: int, crop: tuple[int, int], resampling: str):
        super().__init__()
        self.short, self.crop, self.resampling = short, crop, resampling

    def shaped(self, pixels: Tensor) -> Tensor:
        width, height = short_side_size(pixels.shape[2], pixels.shape[1], self.short)
        across = self._resized(pixels[None].float(), pixels.shape[1], width)
        (resized,) = self._resized(across, height, width)
        top, left = crop_start(height, self.crop[0]), crop_start(width, self.crop[1])
        # where a side is negative, F.pad cuts off as much
        return F.pad(resized, (-left, self.crop[1] - width + left, -top, self.crop[0] - height + top))

    def _resized(self, image: Tensor, height: int, width: int) -> Tensor:
        size = height, width
        return _rounded(F.interpolate(image, size, mode=self.resampling, align_corners=False, antialias=True))


class Letterbox(Front):
    """As `imaging.geometry.letterbox`: in the top left of a square of `size`, the rest filled."""

    def __init__(self, size: int, fill: int):
        super().__init__()
        self.size, self.fill = size, fill

    def shaped(self, pixels: Tensor) -> Tensor:
        (width, height), _ = letterbox_geometry(pixels.shape[2], pixels.shape[1], self.size)
        resized = _bilinear(pixels, height, width)
        return F.pad(resized, (0, self.size - width, 0, self.size - height), value=self.fill)


def _bilinear(pixels: Tensor, height: int, width: int) -> Tensor:
    """Bytes (3, H, W) in another size, int32, by OpenCV's steps for INTER_LINEAR (imgproc/src/resize.cpp).

    Those drop bits on the way, which costs a grey level in each twelfth pixel of a photo and moves scores by 0.01.
    """
    left, right, left_weight, right_weight = _neighbours(pixels.shape[2], width).to(pixels.device)
    top, bottom, top_weight, bottom_weight = _neighbours(pixels.shape[1], height).to(pixels.device)
    parts = []
    for row, weight in ((top, top_weight), (bottom, bottom_weight)):
        line = pixels.index_select(1, row)
        across = line.index_select(2, left).int() * left_weight + line.index_select(2, right).int() * right_weight
        parts.append((across >> 4) * weight[:, None] >> 16)
    return parts[0] + parts[1] + 2 >> 2


@lru_cache(maxsize=256)
def _neighbours(length: int, size: int) -> Tensor:
    """For each of `size` pixels the two of `length` that it lies between and their weights of 2048: int32 (4, size)."""
    place = ((torch.arange(size, dtype=torch.float64) + 0.5) * (1 / (size / length)) - 0.5).float()
    first = place.floor()
    part = (place - first).masked_fill((first < 0) | (first >= length - 1), 0)
    first = first.clamp(0, length - 1)
    second = (first + 1).clamp(max=length - 1)
    return torch.stack([first, second, ((1 - part) * 2048).round(), (part * 2048).round()]).int()


def _rounded(values: Tensor) -> Tensor:
    """Halves up, as Pillow and OpenCV do; torch's own rounding goes to the even number."""
    return (values + 0.5).floor_().clamp_(0, 255)


def classify_front(task: Any) -> Front | None:
    """The front of a `tasks.classify.Classify` that is to decode on the device."""
    if task.options.decode != "device":
        return None
    recipe = task.model.recipe
    return ResizedCrop(recipe["resize"], tuple(recipe["input"]), recipe["filter"])


def detect_front(task: Any) -> Front | None:
    """The front of a `tasks.detect.Detect` that is to decode on the device."""
    return Letterbox(task.model.recipe["input"][0], task.fill) if task.options.decode == "device" else None


def decode_photos(photos: Sequence[EncodedPhoto], device: torch.device) -> list[Tensor]:
    """Pixels uint8 (3, H, W) of each photo as stored, on a device. NotDecodedError with those that fail."""
    try:
        decoded = _decode([photo.content for photo in photos], device)
    except NO_FAULT_OF_PHOTOS:
        raise
    except RuntimeError:  # says nothing of which it was
        decoded = [_decode_alone(photo, device) for photo in photos]
    failed = [photo for photo, pixels in zip(photos, decoded, strict=True) if not _is_whole(photo, pixels)]
    if failed:
        raise NotDecodedError(failed)
    return decoded


def upright(pixels: Tensor, orientation: int | None) -> Tensor:
    """As `io.images.upright`, for (3, H, W)."""
    if orientation in TURNED:
        pixels = pixels.transpose(1, 2)
    across = [2] if orientation in (2, 3, 6, 7) else []
    down = [1] if orientation in (3, 4, 7, 8) else []
    return pixels.flip(across + down)


def _decode(contents: Sequence[bytes], device: torch.device) -> list[Tensor]:
    """One call for all: nvJPEG decodes batches. Other devices' photos are decoded on the CPU."""
    files = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in contents]  # a copy it may write to
    place = device if device.type == "cuda" else torch.device("cpu")
    try:
        return [pixels.to(device) for pixels in decode_jpeg(files, ImageReadMode.RGB, place)]
    except RuntimeError as error:
        if "not compiled" not in str(error):
            raise
        raise DeviceError(f"--decode device: this torchvision can't decode on {place}; leave --decode out") from error


def _decode_alone(photo: EncodedPhoto, device: torch.device) -> Tensor | None:
    try:
        (pixels,) = _decode([photo.content], device)
    except NO_FAULT_OF_PHOTOS:
        raise
    except RuntimeError:
        return None
    return pixels


def _is_whole(photo: EncodedPhoto, pixels: Tensor | None) -> bool:
    size = (photo.width, photo.height) if photo.orientation in TURNED else (photo.height, photo.width)
    return pixels is not None and tuple(pixels.shape) == (3, *size)
