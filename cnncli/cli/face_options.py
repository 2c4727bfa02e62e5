"""The options of `verify-face`: what is compared with what, and what counts as the same person."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cnncli.cli.options import PROVIDERS, options
from cnncli.config import EngineConfig
from cnncli.errors import UsageError

PAIRS, GALLERY, LANDMARKS, EMBED = "--pairs", "--gallery", "--landmarks", "--embed"

_mode, _answer = options("In place of two photos"), options("Answer")


@dataclass(frozen=True)
class FaceMode:
    """What is asked for in place of comparing two photos; `option` is the one that asks, None where none does."""

    option: str | None
    pairs: Path | None
    gallery: Path | None
    images: Path | None

    def __post_init__(self) -> None:
        if self.images is not None and self.pairs is None:
            raise UsageError("--images goes with --pairs")


def mode_options(
    pairs: Annotated[
        Path | None, _mode(help="CSV with two names a line (a heading img1,img2 is optional): a record for each pair.")
    ] = None,
    gallery: Annotated[
        Path | None,
        _mode(help="Who is it? The nearest people of a folder that has a subfolder of photos, or one photo, for each."),
    ] = None,
    landmarks: Annotated[bool, _mode("--landmarks", help="Only find faces and five points of each.")] = False,
    embed: Annotated[
        bool,
        _mode("--embed", help="Give the faces' embeddings; with --out FILE.npy as an array (N, 128), a row a photo."),
    ] = False,
    images: Annotated[
        Path | None, _mode(help="Folder of the photos that --pairs names (default: that of the CSV).")
    ] = None,
) -> FaceMode:
    from cnncli.cli.names import only_one

    asked = {PAIRS: pairs is not None, GALLERY: gallery is not None, LANDMARKS: landmarks, EMBED: embed}
    return FaceMode(only_one(asked), pairs, gallery, images)


@dataclass(frozen=True)
class Judging:
    """Which faces count, and what makes two of them one person's; `threshold` as it is written."""

    threshold: str | None
    metric: str | None
    which: str
    mirror: bool | None
    conf: float | None
    top_k: int


def judging_options(
    threshold: Annotated[
        str | None,
        _answer(
            help="Largest distance that counts as the same person (default: the model's), or @FILE that "
            "'eval verify-face --calibrate' wrote."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        _answer(
            help="Distance: cosine (default of sface), euclidean (default of dlib_resnet29), euclidean_l2 (of "
            "embeddings scaled to length 1) or manhattan (of networks trained as siamese); without it the model's own."
        ),
    ] = None,
    which: Annotated[
        str,
        _answer(
            help="Of several faces in a photo: best (default: size and score together), largest, or all (the nearest "
            "two count)."
        ),
    ] = "best",
    mirror: Annotated[
        bool | None,
        _answer(
            "--mirror/--no-mirror",
            help="Embed each face and its mirror image, and take the mean: mirrored photos get the same verdict, in "
            "twice the time (default: with sface).",
        ),
    ] = None,
    conf: Annotated[
        float | None, _answer(help="Least score of a face, 0 to 1 (default: 0.6 with --landmarks, else 0.8).")
    ] = None,
    top_k: Annotated[int, _answer("--top-k", "-k", help="With --gallery: how many people (default: 5).")] = 5,
) -> Judging:
    return Judging(threshold, metric, which, mirror, conf, top_k)


PROVIDERS.update({FaceMode: mode_options, Judging: judging_options})


def task_options(mode: FaceMode, judging: Judging, engine: EngineConfig) -> tuple[Any, EngineConfig]:
    """The task's options, and the engine with the model that a threshold from a file holds for."""
    from cnncli.tasks import verify_face as task

    modes = {GALLERY: task.GALLERY, LANDMARKS: task.LANDMARKS, EMBED: task.EMBED}
    compares = mode.option not in (LANDMARKS, EMBED)
    if not compares and (judging.threshold is not None or judging.metric is not None):
        raise UsageError(f"{mode.option} compares nothing; leave --threshold and --metric out")
    engine, limit, metric = chosen_threshold(engine, judging.threshold, judging.metric)
    chosen = task.FaceOptions(
        mode=modes.get(mode.option or "", task.PAIR),
        conf=judging.conf,
        which=judging.which,
        threshold=limit,
        metric=metric,
        top_k=judging.top_k,
        gallery=str(mode.gallery or ""),
        mirror=judging.mirror,
    )
    return chosen, engine


def chosen_threshold(
    engine: EngineConfig, threshold: str | None, metric: str | None
) -> tuple[EngineConfig, float | None, str | None]:
    """The threshold that is given, as a number or as @FILE; a file also says for which model and metric it holds."""
    from cnncli.cli.names import number_or

    if threshold is None or not threshold.startswith("@"):
        return engine, None if threshold is None else number_or("--threshold", threshold), metric
    from cnncli.evaluate.verify_face import read_calibration
    from cnncli.io.weights import read_info

    calibration = read_calibration(Path(threshold[1:]))
    if metric not in (None, calibration.metric):
        raise UsageError(f"--metric {metric}: the threshold was calibrated for {calibration.metric}")
    model = read_info(engine.weights).name if engine.weights else engine.model or calibration.model
    if model != calibration.model:
        named = f"--weights {engine.weights}" if engine.weights else f"--model {model}"
        raise UsageError(f"{named}: the threshold was calibrated for {calibration.model}")
    return engine if engine.weights else replace(engine, model=model), calibration.threshold, calibration.metric
