"""How many examples fit on an accelerator at once."""

import gc
from collections.abc import Callable

import torch

from cnncli.engine.base import is_lack_of_memory
from cnncli.errors import DeviceError


def largest_batch(fits: Callable[[int], bool], wanted: int, processes: int) -> int:
    """`wanted` examples of all processes together, halved until they fit. DeviceError where one each does not."""
    size = wanted
    while not fits(size):
        if size // 2 < processes or size % (2 * processes):
            raise DeviceError(
                f"out of memory with {size} examples; choose a smaller --size, --backbone or --batch-size"
            )
        size //= 2
    return size


def runs_out(step: Callable[[], None]) -> bool:
    """Whether a step needs more memory than there is; what it held is given back."""
    try:
        step()
    except Exception as error:
        if not is_lack_of_memory(error):
            raise
        short = True
    else:
        short = False
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return short
