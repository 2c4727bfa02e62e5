"""Windows of a photo that lie one pixel of a network's input apart, all of one size and inside of the photo."""

from dataclasses import dataclass

import numpy as np

from cnncli.errors import InputError, UsageError
from cnncli.imaging.geometry import Geometry, resize, resize_and_crop

DIRECTIONS = {"right": (0, 1), "down": (1, 0), "diagonal": (1, 1)}  # rows and columns of a step
MOST_STEPS = 128
MOST_SIDE = 512  # px of a window that nothing resizes: one pixel is local, and the photo is worked on many times

Size = tuple[int, int]  # rows, columns


@dataclass(frozen=True)
class Shift:
    """`reach` steps of one pixel in a direction."""

    reach: int = 8
    direction: str = "diagonal"

    def __post_init__(self) -> None:
        if not 1 <= self.reach <= MOST_STEPS:
            raise UsageError(f"--range {self.reach}: give 1 to {MOST_STEPS} pixels")
        if self.direction not in DIRECTIONS:
            raise UsageError(f"--direction {self.direction}: choose {', '.join(DIRECTIONS)}")

    @property
    def step(self) -> Size:
        return DIRECTIONS[self.direction]

    def around(self, size: Size) -> Size:
        """The size that all windows of a size cover together."""
        return size[0] + self.reach * self.step[0], size[1] + self.reach * self.step[1]


@dataclass(frozen=True)
class Travel:
    """`pixels`, a part of a photo in the network's scale, over which a window of `size` moves from the top left.

    The network sees the window without `inset` rows and columns at each side; pixels within `margin` of its edge are
    not compared. `geometry` leads back to the photo.
    """

    shift: Shift
    pixels: np.ndarray
    size: Size
    geometry: Geometry
    margin: int = 0
    inset: tuple[float, float] = (0, 0)

    @property
    def count(self) -> int:
        return self.shift.reach + 1

    def start(self, number: int) -> Size:
        """Row and column at which a window begins."""
        return number * self.shift.step[0], number * self.shift.step[1]

    def window(self, number: int) -> np.ndarray:
        rows, columns = (slice(first, first + side) for first, side in zip(self.start(number), self.size, strict=True))
        return np.ascontiguousarray(self.pixels[rows, columns])

    def shared(self, number: int) -> tuple[slice, slice]:
        """The part of a window that all windows show, without their margins."""
        last, own = self.start(self.shift.reach), self.start(number)
        rows, columns = (
            slice(last[axis] - own[axis] + self.margin, self.size[axis] - own[axis] - self.margin) for axis in (0, 1)
        )
        return rows, columns

    def undo(self, corners: np.ndarray) -> np.ndarray:
        """Corner boxes (N, 4), x and y in pixels of the first window, in pixels of the photo."""
        return self.geometry.undo_points(np.reshape(corners, (-1, 2))).reshape(-1, 4)

    def frame(self, number: int) -> np.ndarray:
        """Corners x1, y1, x2, y2, in pixels of the photo, of what the network sees of a window."""
        (top, left), (height, width), (above, beside) = self.start(number), self.size, self.inset
        corners = [left + beside, top + above, left + width - beside, top + height - above]
        return self.undo(np.array([corners], np.float64))[0]


def covering(image: np.ndarray, size: Size, shift: Shift, resampling: str) -> Travel:
    """Windows of a size in the middle of an image, which becomes just large enough for them, its ratio kept."""
    check_room(size, shift)
    height, width = image.shape[:2]
    rows, columns = shift.around(size)
    if width <= height:
        short = max(columns, -(-rows * width // height))
    else:
        short = max(rows, -(-columns * height // width))
    pixels, geometry = resize_and_crop(image, short, (rows, columns), resampling)
    return Travel(shift, pixels, size, geometry)


def stretching(image: np.ndarray, size: Size, shift: Shift, resampling: str) -> Travel:
    """Windows of a size in an image that is stretched to what they cover together, its ratio not kept."""
    check_room(size, shift)
    pixels, geometry = resize(image, *shift.around(size), resampling)
    return Travel(shift, pixels, size, geometry)


def unscaled(image: np.ndarray, shift: Shift, margin: int) -> Travel:
    """Windows in the middle of an image that stays as it is."""
    height, width = image.shape[:2]
    size = (
        min(height - shift.reach * shift.step[0], MOST_SIDE),
        min(width - shift.reach * shift.step[1], MOST_SIDE),
    )
    check_room(size, shift, margin)
    rows, columns = shift.around(size)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = image[top : top + rows, left : left + columns]
    return Travel(shift, part, size, Geometry(1.0, 1.0, left, top), margin)


def check_room(size: Size, shift: Shift, margin: int = 0) -> None:
    """InputError where windows of a size have no part in common."""
    moved = (shift.reach * step for step in shift.step)
    if any(side <= way + 2 * margin for side, way in zip(size, moved, strict=True)):
        raise InputError(
            f"too small or narrow for shifts of {shift.reach} pixels: its windows would have nothing in common; "
            "choose a smaller --range"
        )
