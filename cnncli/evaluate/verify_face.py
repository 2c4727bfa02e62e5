"""How well distances of faces tell the same person from different ones; thresholds for a wanted rate of errors."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.errors import UsageError
from cnncli.imaging.faces import DISTANCES
from cnncli.io.atomic import output_file

FOLDS = 10
FALSE_ACCEPT_RATES = (1e-2, 1e-3)
KIND = "cnncli verify-face threshold"


@dataclass(frozen=True)
class Calibration:
    """A threshold, the model and metric that it holds for, and what it was made from."""

    threshold: float
    model: str
    metric: str
    false_accept_rate: float
    true_accept_rate: float
    pairs: int
    different_pairs: int


def scores_of(distances: Sequence[float | None], same: Sequence[bool], threshold: float) -> dict[str, Any]:
    """Figures in percent (AUC as a part) of pairs: their distances, None where no face was found, and the truth.

    Pairs without a distance count as wrong at the fixed threshold, and are left out of all other figures.
    """
    found = np.array([value is not None for value in distances])
    truth = np.array(same, bool)[found]
    values = np.array([value for value in distances if value is not None], np.float64)
    if not len(values):
        raise UsageError("no pair could be compared: a photo could not be read, or shows no face, in each")
    if truth.all() or not truth.any():
        missed = f" (of {len(distances)}, {int((~found).sum())} could not be compared)" if not found.all() else ""
        raise UsageError(f"the pairs are all of one kind{missed}; a measure needs same and different ones")
    accepted = values <= threshold
    curve = roc(values, truth)
    return {
        "pairs": len(distances),
        "missed": int((~found).sum()),
        "threshold": threshold,
        "accuracy": _percent((accepted == truth).sum() / len(distances)),
        "false_accept_rate": _percent(accepted[~truth].mean()),
        "false_reject_rate": _percent((~accepted[truth]).mean()),
        "best_threshold_accuracy": _percent(best_threshold(values, truth)[1]),
        "ten_fold_accuracy": None if (part := cross_validated(values, truth)) is None else _percent(part),
        "AUC": round(area_under(values, truth), 5),
        "EER": _percent(equal_error_rate(curve)),
        **{f"TAR_at_FAR_{rate:g}": _percent(true_accept_rate(curve, rate)) for rate in FALSE_ACCEPT_RATES},
    }


@dataclass(frozen=True)
class Roc:
    """Rates of accepting different people (false) and the same person (true) at rising thresholds, from 0 to 1."""

    thresholds: np.ndarray
    false_rates: np.ndarray
    true_rates: np.ndarray


def roc(distances: np.ndarray, same: np.ndarray) -> Roc:
    """The receiver operating characteristic: a point for accepting nothing, and one after each distinct distance."""
    order = np.argsort(distances, kind="stable")
    ordered, truth = distances[order], same[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    true, false = np.cumsum(truth)[last], np.cumsum(~truth)[last]
    start = np.array([0.0])
    return Roc(
        np.concatenate([[-np.inf], ordered[last]]),
        np.concatenate([start, false / false[-1]]),
        np.concatenate([start, true / true[-1]]),
    )


def area_under(distances: np.ndarray, same: np.ndarray) -> float:
    """The part of all (same, different) couples of pairs in which the same is nearer, ties counting half."""
    near, far = np.sort(distances[same]), distances[~same]
    below, upto = np.searchsorted(near, far, "left"), np.searchsorted(near, far, "right")
    return float((below + upto).sum() / (2 * len(near) * len(far)))


def equal_error_rate(curve: Roc) -> float:
    """Where as many same pairs are rejected as different ones accepted, by linear interpolation."""
    gap = curve.false_rates - (1 - curve.true_rates)
    after = int(np.argmax(gap >= 0))
    before = max(after - 1, 0)
    span = gap[after] - gap[before]
    part = -gap[before] / span if span else 0.0
    return float(curve.false_rates[before] + part * (curve.false_rates[after] - curve.false_rates[before]))


def true_accept_rate(curve: Roc, false_accept_rate: float) -> float:
    """The best rate of accepting the same person while that of different people is at most so large."""
    return float(curve.true_rates[curve.false_rates <= false_accept_rate].max())


def best_threshold(distances: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """The threshold of the highest accuracy, half way to the next distance, and that accuracy."""
    curve = roc(distances, same)
    right = curve.true_rates * same.sum() + (1 - curve.false_rates) * (~same).sum()
    best = int(np.argmax(right))
    low, high = curve.thresholds[best], curve.thresholds[min(best + 1, len(right) - 1)]
    middle = (low + high) / 2 if np.isfinite(low) else high - 1
    return float(middle), float(right[best] / len(same))


def cross_validated(distances: np.ndarray, same: np.ndarray) -> float | None:
    """Accuracy with the threshold that is best on the other nine tenths, as LFW's protocol asks (Huang et al. 2007).

    Tenths are dealt out in turn, same and different pairs apart, so that each has as many of both. None where a tenth
    would leave none of a kind to learn from.
    """
    if min(same.sum(), (~same).sum()) < 2:
        return None
    fold = np.empty(len(same), int)
    for kind in (True, False):
        (members,) = np.nonzero(same == kind)
        fold[members] = np.arange(len(members)) % FOLDS
    right = 0
    for number in range(FOLDS):
        inside = fold == number
        threshold, _ = best_threshold(distances[~inside], same[~inside])
        right += int(((distances[inside] <= threshold) == same[inside]).sum())
    return right / len(same)


def calibrate(
    distances: Sequence[float | None], same: Sequence[bool], rate: float, model: str, metric: str
) -> Calibration:
    """The largest threshold at which at most `rate` (a part) of the different pairs are taken for the same person.

    Half way to the next distance, so that a pair must differ from all of these to be on the wrong side.
    """
    found = [(value, truth) for value, truth in zip(distances, same, strict=True) if value is not None]
    values, truth = (np.array(part) for part in zip(*found, strict=True))
    curve = roc(values, truth.astype(bool))
    allowed = np.flatnonzero(curve.false_rates <= rate)
    if len(allowed) < 2:
        raise UsageError(f"--calibrate {rate:g}: no threshold accepts so few of these pairs; give more pairs")
    place = int(allowed[-1])
    after = curve.thresholds[place + 1] if place + 1 < len(curve.thresholds) else curve.thresholds[place]
    threshold = float(curve.thresholds[place] + after) / 2
    rates = float(curve.false_rates[place]), float(curve.true_rates[place])
    return Calibration(threshold, model, metric, *rates, len(found), sum(not same for _, same in found))


def write_calibration(path: Path, calibration: Calibration) -> None:
    with output_file(path) as file:
        file.write(json.dumps({"kind": KIND, **asdict(calibration)}, indent=2).encode() + b"\n")


def read_calibration(path: Path) -> Calibration:
    """What `write_calibration` wrote. UsageError where a file is none."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if entries.pop("kind") != KIND:
            raise ValueError("of another kind")
        calibration = Calibration(**entries)
        if calibration.metric not in DISTANCES or not 0 < calibration.threshold < float("inf"):
            raise ValueError("no threshold of a known metric")
        return calibration
    except FileNotFoundError as error:
        raise UsageError(f"--threshold @{path}: no such file") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"--threshold @{path}: was not written by 'eval verify-face --calibrate' ({error})") from error


def _percent(part: float) -> float:
    return round(100 * float(part), 3)
