"""The figure of a photo that moves: where its windows lie, and how the answer changes with the shift."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnncli.explain.layout import DRAWING, plain
from cnncli.explain.shift_windows import Shift
from cnncli.imaging.draw import PALETTE
from cnncli.imaging.figures import figure_of, pixels_of

if TYPE_CHECKING:
    from cnncli.explain.shift import Track

SIZE = (13.0, 4.6)  # inches
MAP_WIDTH = 4.4  # inches, of a map beside it
COLOURS = [tuple(value / 255 for value in PALETTE[number]) for number in (4, 5)]  # blue and vermilion
STYLES = ("-", "--")
WAYS = {"right": "to the right", "down": "down", "diagonal": "diagonally"}
ENDLESS = 60.0  # dB, at which infinite values are drawn where all are


def draw_shift(picture: np.ndarray, shift: Shift, tracks: Sequence["Track"]) -> np.ndarray:
    """The photo with the first and last window, the curve of each model, and its numbers in words: uint8 RGB."""
    with DRAWING:
        return _drawn(picture, shift, tracks)


def _drawn(picture: np.ndarray, shift: Shift, tracks: Sequence["Track"]) -> np.ndarray:
    unsteady = tracks[0].trace.unsteady
    widths = [4.2, 5.6] if unsteady is None else [4.2, 5.6, MAP_WIDTH]
    figure = figure_of(SIZE[0] + (0 if unsteady is None else MAP_WIDTH), SIZE[1] + 0.6 * len(tracks))
    grid = figure.add_gridspec(2, len(widths), width_ratios=widths, height_ratios=[SIZE[1] - 1, 0.9 * len(tracks)])
    names = " and ".join(track.follower.name for track in tracks)
    figure.suptitle(plain(f"{names}: the window moves {WAYS[shift.direction]}, {shift.reach} steps of one pixel"))
    _photo(figure.add_subplot(grid[:, 0]), picture, tracks[0])
    _curves(figure.add_subplot(grid[0, 1]), shift, tracks)
    _words(figure.add_subplot(grid[1, 1]), tracks)
    if unsteady is not None:
        _map(figure, figure.add_subplot(grid[:, 2]), unsteady, tracks[0].follower.unsteady)
    return pixels_of(figure)


def _photo(axes: Any, picture: np.ndarray, track: "Track") -> None:
    axes.imshow(picture)
    for frame, style in zip(track.frames, STYLES, strict=True):
        _box(axes, frame, "black", "-", 2.6)
        _box(axes, frame, "white", style, 1.4)
    title = "the first window (solid) and the last (dashed)"
    if track.trace.boxes is not None:
        for corners in track.trace.boxes:
            _box(axes, corners, COLOURS[0], "-", 1.0)
        title += f",\nboxes of {plain(track.trace.entries['label'])}, moved back"
    axes.set_title(title, fontsize="medium")
    axes.set_axis_off()


def _box(axes: Any, corners: np.ndarray, colour: Any, style: str, width: float) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = (float(value) for value in corners)
    axes.add_patch(
        Rectangle(
            (left - 0.5, top - 0.5),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=colour,
            linestyle=style,
            linewidth=width,
        )
    )


def _curves(axes: Any, shift: Shift, tracks: Sequence["Track"]) -> None:
    follower = tracks[0].follower
    finite = [value for track in tracks for value in track.trace.curve if value is not None]
    endless = max(finite) + 1.2 * max(max(finite) - min(finite), 1) if finite else ENDLESS
    for number, track in enumerate(tracks):
        _curve(axes, track, endless, COLOURS[number], STYLES[number])
    if follower.limits is not None:
        axes.set_ylim(follower.limits[0] - 0.02, follower.limits[1] + 0.04)
    elif any(None in track.trace.curve for track in tracks):
        ticks = sorted({min(finite), max(finite)}) if finite else []
        axes.set_yticks([*ticks, endless], [*(f"{tick:.1f}" for tick in ticks), "∞"])
    axes.set_xlim(-0.3, shift.reach + 0.3)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("shift, pixels of the network's input" if follower.resizes else "shift, pixels")
    axes.set_ylabel(follower.quantity, fontsize="small")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="best")


def _curve(axes: Any, track: "Track", endless: float, colour: Any, style: str) -> None:
    """A model's curve, infinite values as triangles at `endless`, and dotted lines where its label changes."""
    curve = np.array([endless if value is None else value for value in track.trace.curve])
    equal = np.array([value is None for value in track.trace.curve])
    steps = np.arange(len(curve))
    axes.plot(steps, curve, style, color=colour, label=plain(track.follower.name))
    axes.plot(steps[~equal], curve[~equal], "o", color=colour)
    if equal.any():
        axes.plot(steps[equal], curve[equal], "^", color=colour, label="equal")
    for place, change in enumerate(track.trace.changes):
        label = None if place else "the label changes"
        axes.axvline(change - 0.5, color=colour, linestyle=":", linewidth=1.5, label=label)


def _words(axes: Any, tracks: Sequence["Track"]) -> None:
    lines = [(number, line) for number, track in enumerate(tracks) for line in _lines(track)]
    for place, (number, line) in enumerate(lines):
        height = 1 - (place + 0.5) / len(lines)
        axes.text(0, height, plain(line), color=COLOURS[number], fontsize="small", va="center", clip_on=False)
    axes.set_axis_off()


def _lines(track: "Track") -> list[str]:
    first, *others = track.trace.words
    return [f"{track.follower.name}: {first}", *others]


def _map(figure: Any, axes: Any, unsteady: np.ndarray, meaning: str) -> None:
    shown = axes.imshow(unsteady, cmap="inferno", vmin=0, vmax=float(unsteady.max()) or 1)
    figure.colorbar(shown, ax=axes, shrink=0.7, label=meaning)
    axes.set_title("where the answer changes,\nin the part that all windows show", fontsize="medium")
    axes.set_axis_off()
