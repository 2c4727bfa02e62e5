"""What is followed while a photo moves, where every pixel has an answer: masks and pictures."""

from collections.abc import Sequence

import numpy as np

from cnncli.explain import shift_measures as measures
from cnncli.explain.shift_follow import UNIT_DIGITS, Follower, Trace
from cnncli.explain.shift_windows import Shift, Travel, covering, stretching, unscaled
from cnncli.imaging.filters import white_level
from cnncli.imaging.geometry import stepped_size
from cnncli.imaging.noise import psnr
from cnncli.results.denoise import Denoised
from cnncli.results.segment import Segmentation
from cnncli.results.sobel import Gradient
from cnncli.tasks.segment import HALF

SOBEL_REACH = 1  # px that a 3 x 3 filter reads to either side
DECIBEL_DIGITS = 3  # of the record


class FollowMask(Follower):
    """The class of every pixel, or whether it is foreground.

    Entries: `labels` of the first window; in each window, moved back, the part of the pixels with the same class
    (`agreements`) and the mean overlap of the classes but the background (`ious`; null where there are none); their
    means over the moved windows, `agreement` and `iou`.
    """

    quantity = "part of the pixels with the class of the unmoved photo"
    limits = None
    figure = "agreement"
    meaning = "part of the pixels that keep their class"
    unsteady = "part of the shifts with another class"

    def travel(self, image: np.ndarray, shift: Shift) -> Travel:
        recipe, (height, width) = self.info.recipe, image.shape[:2]
        if "sizes" not in recipe:
            return stretching(image, tuple(recipe["input"]), shift, recipe["filter"])
        size = stepped_size(width, height, recipe["long_side"], *recipe["sizes"])[::-1]
        return covering(image, size, shift, recipe["filter"])

    def trace(self, travel: Travel, results: Sequence[Segmentation]) -> Trace:
        is_matte = self.info.task == "foreground"
        whole = [result.pixels >= HALF if is_matte else result.pixels for result in results]
        masks = [mask[travel.shared(number)] for number, mask in enumerate(whole)]
        background = 0 if is_matte else self.info.recipe["background"]
        agreements = [measures.agreement(masks[0], mask) for mask in masks]
        ious = [measures.mean_overlap(masks[0], mask, background) for mask in masks]
        known = [overlap for overlap in ious[1:] if overlap is not None]
        mean, overlap = float(np.mean(agreements[1:])), float(np.mean(known)) if known else None
        entries = {
            "labels": [entry.label for entry in results[0].segments],
            "agreements": [round(value, UNIT_DIGITS) for value in agreements],
            "ious": [None if value is None else round(value, UNIT_DIGITS) for value in ious],
            "agreement": round(mean, UNIT_DIGITS),
            "iou": None if overlap is None else round(overlap, UNIT_DIGITS),
        }
        words = [
            f"{', '.join(entries['labels'][:3]) or 'background alone'}",
            f"{mean:.2%} of the pixels keep their class on average, {min(agreements):.2%} at least",
            "no foreground" if overlap is None else f"overlap of the classes but the background {overlap:.1%}",
        ]
        unsteady = np.mean([mask != masks[0] for mask in masks[1:]], axis=0)
        return Trace(entries, [*agreements], words, unsteady=unsteady)


class FollowPicture(Follower):
    """The picture that is answered, away from the edges that padding reaches.

    Entries: the PSNR of each window's result, moved back, with the first (`psnrs`, dB; null where they are equal), the
    lowest of them (`psnr`); `equal`, the part of the moved windows with an equal result, `exact` where all are.
    """

    quantity = "PSNR of the moved-back result, dB"
    limits = None
    figure = "equal"
    meaning = "part of the shifts with an equal result"
    unsteady = "mean difference, of white"
    resizes = False

    def travel(self, image: np.ndarray, shift: Shift) -> Travel:
        return unscaled(image, shift, self.info.recipe.get("radius", SOBEL_REACH))

    def trace(self, travel: Travel, results: Sequence[Denoised | Gradient]) -> Trace:
        whole = [result.values if isinstance(result, Gradient) else result.pixels for result in results]
        parts = [picture[travel.shared(number)].astype(np.float64) for number, picture in enumerate(whole)]
        white = float(white_level(whole[0].dtype)) if whole[0].dtype.kind == "u" else max(1.0, float(parts[0].max()))
        decibels = [psnr(parts[0], part, white) for part in parts]
        curve = [None if np.isinf(value) else value for value in decibels]
        finite = [value for value in curve if value is not None]
        equal = 1 - len(finite) / (len(curve) - 1)
        entries = {
            "psnrs": [None if value is None else round(value, DECIBEL_DIGITS) for value in curve],
            "psnr": round(min(finite), DECIBEL_DIGITS) if finite else None,
            "exact": not finite,
            "equal": round(equal, UNIT_DIGITS),
        }
        lowest = f"PSNR {min(finite):.1f} dB at least" if finite else "exactly equivariant: the result moves along"
        words = [lowest, f"an equal result at {equal:.0%} of shifts"]
        differences = np.mean([np.abs(part - parts[0]) for part in parts[1:]], axis=0) / white
        unsteady = differences if differences.ndim == 2 else differences.mean(axis=2)
        return Trace(entries, curve, words, unsteady=unsteady)
