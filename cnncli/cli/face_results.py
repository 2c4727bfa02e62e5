"""What `eval verify-face` makes of distances: the ROC curve and the calibrated threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.cli.options import PROVIDERS
from cnncli.cli.streams import say
from cnncli.errors import UsageError


@dataclass(frozen=True)
class FaceResults:
    """What is made, and the files that it goes to; `calibrate` is the part of different pairs to be accepted."""

    roc: Path | None
    calibrate: float | None
    calibration: Path | None
    overwrite: bool
    as_json: bool
    records: Path | None

    def __post_init__(self) -> None:
        if (self.calibrate is None) != (self.calibration is None):
            raise UsageError("--calibrate RATE and --calibration FILE go together; give both")
        if self.calibrate is not None and not 0 <= self.calibrate < 1:
            raise UsageError(f"--calibrate {self.calibrate:g}: give a part from 0 to 1, such as 0.001")

    def check(self, pairs: Path, photos: Any) -> None:
        """UsageError where the ROC curve or the threshold can't be written, before anything runs."""
        from cnncli.io.pictures import can_write
        from cnncli.run.outputs import check_folder, refuse_inputs

        if self.roc is not None and not can_write(self.roc):
            raise UsageError(f"--roc: '{self.roc.suffix}' names no image format; use .png or .jpg")
        for option, path in (("--roc", self.roc), ("--calibration", self.calibration)):
            if path is None:
                continue
            check_folder(path.parent, option)
            refuse_inputs(path, photos)
            if path.exists() and (not self.overwrite or path.is_dir() or path.samefile(pairs)):
                way_out = "name another file, or use --overwrite for an earlier result"
                raise UsageError(f"{option} {path}: exists; {way_out}")


def result_options(
    roc: Annotated[
        Path | None, typer.Option(help="Draw the ROC curve (true over false accepts) into this picture.")
    ] = None,
    calibrate: Annotated[
        float | None,
        typer.Option(help="Find the threshold that accepts at most this part of the different pairs, such as 0.001."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="File for what --calibrate finds, to be read by --threshold @FILE.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace these files where they exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    records: Annotated[Path | None, typer.Option(help="Write the pairs' records (JSONL) to this file.")] = None,
) -> FaceResults:
    return FaceResults(roc, calibrate, calibration, overwrite, as_json, records)


PROVIDERS[FaceResults] = result_options


@dataclass(frozen=True)
class Judged:
    """Distances of pairs, None where a photo has no face, and whether they are the same person's."""

    model: str
    metric: str
    distances: Sequence[float | None]
    truth: Sequence[bool]


def draw_roc_curve(path: Path, judged: Judged, area: float) -> None:
    import numpy as np

    from cnncli.evaluate.roc_picture import draw_roc
    from cnncli.evaluate.verify_face import roc
    from cnncli.io.pictures import Picture, encode
    from cnncli.run.outputs import write_file

    known = [(value, same) for value, same in zip(judged.distances, judged.truth, strict=True) if value is not None]
    values, labels = (np.array(part) for part in zip(*known, strict=True))
    title = f"{judged.model}, {len(judged.truth)} pairs: AUC {area:.4f}"
    write_file(path, encode(Picture(draw_roc(roc(values, labels), title)), path.suffix))


def write_threshold(path: Path, judged: Judged, rate: float, quiet: bool) -> float:
    """Find and write the threshold that accepts at most a `rate` of the different pairs."""
    from cnncli.evaluate.verify_face import calibrate, write_calibration

    found = calibrate(judged.distances, judged.truth, rate, judged.model, judged.metric)
    write_calibration(path, found)
    if rate * found.different_pairs < 1 and not quiet:
        pairs_needed = f"{found.different_pairs} different pairs can't show a rate of {rate:g}"
        say(f"{pairs_needed}; {round(1 / rate):,} or more can" if rate else pairs_needed)
    return found.threshold
