"""What `sobel` computes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.results.record import WRITTEN

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Gradient:
    """What a derivative filter gave: the range and mean of its values.

    `values` (H, W) or (H, W, 3), and beside an angle the magnitude; None once they are written.
    """

    least: float
    most: float
    mean: float
    values: "np.ndarray | None" = None
    magnitude: "np.ndarray | None" = None

    def as_dict(self) -> dict[str, Any]:
        numbers = {"min": self.least, "max": self.most, "mean": self.mean}
        return {"output": None, **{name: round(value, 6) for name, value in numbers.items()}}


SCHEMA: dict[str, Any] = {
    "output": WRITTEN,
    **{name: {"type": "number", "description": "of the values"} for name in ("min", "max", "mean")},
}
EITHER = [{"required": ["output"]}]
