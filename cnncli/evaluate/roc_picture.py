"""The receiver operating characteristic as a picture."""

import numpy as np
from PIL import Image, ImageDraw

from cnncli.evaluate.verify_face import Roc
from cnncli.imaging.draw import DARK, PALETTE, font

SIZE = (720, 560)  # px
LEFT, TOP, RIGHT, BOTTOM = 90, 84, 690, 480
LEAST_RATE = 1e-4  # of the logarithmic axis
STARTS = (0, 0.5, 0.9)  # of the axis of true accepts
GRID = (215, 215, 215)


def draw_roc(curve: Roc, title: str) -> np.ndarray:
    """RGB (H, W, 3): true accepts over false accepts, the latter on a logarithmic axis.

    The axis of true accepts begins at the largest of STARTS below the curve, so that good curves can be told apart.
    """
    low = max(start for start in STARTS if start < curve.true_rates[curve.false_rates <= LEAST_RATE].max() or not start)
    picture = Image.new("RGB", SIZE, (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    small, large = font(16), font(20)
    draw.text((LEFT, 28), title, DARK, large, anchor="lm")
    for exponent in range(round(np.log10(LEAST_RATE)), 1):
        x, _ = _place(10.0**exponent, 1, low)
        draw.line((x, TOP, x, BOTTOM), GRID)
        draw.text((x, BOTTOM + 18), f"{10.0**exponent:g}", DARK, small, anchor="mm")
    for rate in np.linspace(low, 1, 6):
        _, y = _place(1, rate, low)
        draw.line((LEFT, y, RIGHT, y), GRID)
        draw.text((LEFT - 12, y), f"{rate:.3g}", DARK, small, anchor="rm")
    draw.rectangle((LEFT, TOP, RIGHT, BOTTOM), None, DARK)
    steps = []
    for false, true, before in zip(curve.false_rates, curve.true_rates, [0.0, *curve.true_rates], strict=False):
        steps += [_place(false, before, low), _place(false, true, low)]
    draw.line(steps, PALETTE[4], 3)
    draw.text(((LEFT + RIGHT) / 2, BOTTOM + 50), "false accept rate", DARK, large, anchor="mm")
    draw.text((LEFT, TOP - 8), "true accept rate", DARK, small, anchor="lb")
    return np.asarray(picture)


def _place(false_rate: float, true_rate: float, low: float) -> tuple[float, float]:
    part = 1 - np.log10(max(false_rate, LEAST_RATE)) / np.log10(LEAST_RATE)
    height = (max(true_rate, low) - low) / (1 - low)
    return LEFT + part * (RIGHT - LEFT), BOTTOM - height * (BOTTOM - TOP)
