"""What `denoise` makes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.results.record import WRITTEN

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Denoised:
    """A photo without its noise. `sigma` (of 255) is the noise level it was cleaned of, or that was added to it.

    `pixels` are those of the photo's own type and channels; None once they are written.
    """

    sigma: float
    tiles: int
    pixels: "np.ndarray | None" = None

    def as_dict(self) -> dict[str, Any]:
        return {"output": None, "sigma": round(self.sigma, 4), "tiles": self.tiles}


_QUALITY = {
    "psnr": {"type": ["number", "null"], "description": "dB against --reference; null where both are equal"},
    "ssim": {"type": "number", "maximum": 1, "description": "against --reference"},
    "psnr_before": {"type": ["number", "null"], "description": "dB of the input itself"},
    "ssim_before": {"type": "number", "maximum": 1, "description": "of the input itself"},
}
SCHEMA: dict[str, Any] = {
    "output": WRITTEN,
    "sigma": {"type": "number", "minimum": 0, "description": "noise level, of 255"},
    "tiles": {"type": "integer", "minimum": 0, "description": "parts that the photo was cleaned in"},
    "compare": {"type": "string", "description": "the picture of before and after"},
    **_QUALITY,
}
EITHER = [{"required": ["output"]}]
