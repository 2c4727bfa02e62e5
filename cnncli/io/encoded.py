"""Photos that stay in their files' bytes until a device decodes them."""

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class EncodedPhoto:
    """A JPEG that a GPU's decoder should read: 8 bits, grey or YCbCr, complete. `width` and `height` are upright.

    Stands in the place of an image's array (H, W, 3), and of a network's input made of it.
    """

    content: bytes
    width: int
    height: int
    orientation: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, 3

    @property
    def nbytes(self) -> int:
        return len(self.content)
