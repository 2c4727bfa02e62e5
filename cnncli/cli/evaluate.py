"""`cnncli eval`: how right a model is on labelled data."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.cli.face_options import chosen_threshold
from cnncli.cli.face_results import FaceResults, Judged, draw_roc_curve, write_threshold
from cnncli.cli.options import Manners, with_shared_options
from cnncli.cli.pages import PageCommand, new_app
from cnncli.cli.streams import print_out, say
from cnncli.config import EngineConfig, RunConfig
from cnncli.errors import UsageError

app = new_app(help="Measure a model on labelled data.", no_args_is_help=True)


@app.command("classify", cls=PageCommand)
@with_shared_options
def classify(
    engine: EngineConfig,
    run: RunConfig,
    manners: Manners,
    place: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder per class, or a CSV: file, class_id or label.")
    ],
    images: Annotated[Path | None, typer.Option(help="Folder of the CSV's files, where it is another.")] = None,
    labels: Annotated[Path | None, typer.Option(help="File of other names for the classes, one a line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    records: Annotated[Path | None, typer.Option(help="Write the photos' records (JSONL) to this file.")] = None,
) -> int:
    """Top-1 and top-5 accuracy, per class, and what is taken for what."""
    from cnncli.cli.names import read_names
    from cnncli.evaluate.classify import find_photos, summarise
    from cnncli.tasks.classify import ClassifyOptions

    options = ClassifyOptions(top_k=5, labels=read_names(labels) if labels else ())
    session = _open("classify", options, engine)
    classes = session.task.labels
    photos = find_photos(place, images, classes)
    outcomes = _run(session, [photo.file for photo in photos], run, manners, records)
    answers = [[entry.index for entry in one.result.classes] if record.ok else None for record, one in outcomes]
    figures = summarise([photo.truth for photo in photos], answers, classes)
    _show({**_heading(session), **figures}, as_json, "show_classification")
    return 1 if figures["failed"] else 0


@app.command("detect", cls=PageCommand)
@with_shared_options
def detect(
    engine: EngineConfig,
    run: RunConfig,
    manners: Manners,
    annotations: Annotated[Path, typer.Option(help="COCO's instances JSON.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the images; without it, that of the JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    records: Annotated[Path | None, typer.Option(help="Write the photos' records (JSONL) to this file.")] = None,
) -> int:
    """COCO's average precision and recall, and the precision per class."""
    from cnncli.evaluate.detect import CONF, Annotations
    from cnncli.tasks.detect import DetectOptions

    truth = Annotations(annotations, images)
    session = _open("detect", DetectOptions(conf=CONF), engine)
    found = [record.result for record, _ in _run(session, truth.files, run, manners, records)]
    figures = truth.score([result["detections"] if result else None for result in found])
    _show({**_heading(session), **figures}, as_json, "show_detection")
    return 1 if figures["failed"] else 0


@app.command("segment", cls=PageCommand)
@with_shared_options
def segment(
    engine: EngineConfig,
    run: RunConfig,
    manners: Manners,
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of photos.")],
    masks: Annotated[Path, typer.Argument(metavar="MASKS", help="Folder of their masks: class numbers as PNG.")],
    scale: Annotated[int | None, typer.Option(help="Long side of the network's input in pixels.")] = None,
    scales: Annotated[str, typer.Option(help="Average over these factors of it, such as 0.75,1,1.25.")] = "1",
    flip: Annotated[bool, typer.Option("--flip", help="Average over the photo and its mirror image.")] = False,
    ignore: Annotated[str | None, typer.Option(help="Class numbers of masks to leave out beside 255.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    records: Annotated[Path | None, typer.Option(help="Write the photos' records (JSONL) to this file.")] = None,
) -> int:
    """Mean intersection over union, that of each class, and the part of the pixels that are right."""
    from cnncli.cli.names import numbers
    from cnncli.evaluate.segment import Agreement, find_pairs
    from cnncli.tasks.segment import SegmentOptions

    pairs, without = find_pairs(images, masks)
    if without and not manners.quiet:
        say(f"{without} image(s) in {images} have no mask in {masks} and are left out")
    options = SegmentOptions(scale=scale, scales=numbers("--scales", scales), flip=flip)
    session = _open("segment", options, engine)
    ignored = [int(number) for number in numbers("--ignore", ignore)] if ignore else []
    agreement = Agreement(pairs, session.task.labels, ignored)
    photos = [pair.photo for pair in pairs]
    failed = sum(not record.ok for record, _ in _run(session, photos, run, manners, records, [agreement]))
    figures = {**_heading(session), "images": len(pairs), "failed": failed, **agreement.figures()}
    _show(figures, as_json, "show_segmentation")
    return 1 if failed else 0


@app.command("denoise", cls=PageCommand)
@with_shared_options
def denoise(
    engine: EngineConfig,
    run: RunConfig,
    manners: Manners,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of clean photos.")],
    sigma: Annotated[str, typer.Option(help="Noise levels of 255.")] = "15,25,50",
    blind: Annotated[
        bool, typer.Option("--blind", help="Let the noise level be estimated from each noisy photo.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Other noise; 0 is that of the published figures.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
) -> int:
    """PSNR and SSIM after seeded noise: kept in float, and as 8 bits hold it, beside OpenCV's non-local means."""
    from cnncli.cli.names import numbers
    from cnncli.evaluate.denoise import DEPTHS, Trial, find_photos
    from cnncli.run.runner import run_items
    from cnncli.tasks.denoise import DenoiseOptions

    files, entries, failed = find_photos(folder), [], set()
    for level in numbers("--sigma", sigma):
        options = DenoiseOptions(sigma=None if blind else level)
        session = _open("denoise", options, engine)
        entry: dict[str, Any] = {"sigma": level}
        for depth in DEPTHS:
            good = [file for file in files if file not in failed]  # a photo that failed once fails each time
            trial = Trial(level, depth, seed, run.max_pixels, beside=True)
            noisy = run_items(session, trial.items(good), run, [trial])
            outcomes = _followed(session, noisy, len(good), run, manners, None)
            failed |= {record.file for record, _ in outcomes if not record.ok}
            entry[depth] = trial.figures()
        entries.append(entry)
    if len(failed) == len(files):
        raise UsageError(f"{folder}: none of its {len(files)} photos can be read")
    counts = {"images": len(files) - len(failed), "failed": len(failed)}
    figures = {**_heading(session), **counts, "blind": blind, "levels": entries}
    _show(figures, as_json, "show_denoising")
    return 1 if failed else 0


@app.command("verify-face", cls=PageCommand)
@with_shared_options
def verify_face(
    results: FaceResults,
    engine: EngineConfig,
    run: RunConfig,
    manners: Manners,
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS.CSV", help="Two names a line and a column 'same', 1 or 0.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the photos, where it is not the CSV's own.")] = None,
    threshold: Annotated[
        str | None, typer.Option(help="Largest distance of the same person, or @FILE; without it, the model's own.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="cosine, euclidean, euclidean_l2 or manhattan; else the model's.")
    ] = None,
    which: Annotated[str, typer.Option(help="Of several faces in a photo: best, largest or all.")] = "best",
) -> int:
    """How often faces are told apart rightly, on pairs that are known to be the same person's or not.

    Accuracy at the threshold, at the best one, and at one learned on the other nine tenths; area under the ROC curve
    (AUC), equal error rate (EER), true accept rate (TAR) where at most 1 or 0.1 % of different pairs are accepted.
    """
    from cnncli.evaluate.verify_face import scores_of
    from cnncli.run.pairs import PairSources, pair_items, read_pairs, verify
    from cnncli.tasks.verify_face import PAIR, FaceOptions

    engine, limit, metric = chosen_threshold(engine, threshold, metric)
    listed = read_pairs(pairs, images)
    if any(pair.same is None for pair in listed):
        raise UsageError(f"{pairs}: has no column 'same'; write its names in the first line: img1,img2,same")
    results.check(pairs, PairSources(listed))
    session = _open("verify-face", FaceOptions(PAIR, which=which, threshold=limit, metric=metric), engine)
    verified = verify(session, pair_items(listed), run)
    followed = _followed(session, verified, len(listed), run, manners, results.records, results.overwrite)
    distances = [outcome.result.match.distance if outcome.result else None for _, outcome in followed]
    judge = session.task.judge
    judged = Judged(session.run.model, judge.metric, distances, [bool(pair.same) for pair in listed])
    figures = {**_heading(session), "metric": judge.metric, **scores_of(distances, judged.truth, judge.threshold)}
    if results.roc is not None:
        draw_roc_curve(results.roc, judged, figures["AUC"])
    if results.calibrate is not None and results.calibration is not None:
        found = write_threshold(results.calibration, judged, results.calibrate, manners.quiet)
        figures["calibrated_threshold"] = found
    _show(figures, results.as_json, "show_verification")
    return 1 if figures["missed"] else 0


def _open(task: str, options: Any, engine: EngineConfig) -> Any:
    """A session for a run that is taken for long."""
    from cnncli.run.session import open_session

    return open_session(task, options, engine, expected_inputs=1 << 20, notify=say)


def _heading(session: Any) -> dict[str, Any]:
    """What ran, first of all figures."""
    return {"task": session.run.task, "model": session.run.model, "engine": session.run.engine}


def _run(
    session: Any, files: list[str], run: RunConfig, manners: Manners, path: Path | None, products: Sequence[Any] = ()
) -> Iterator[tuple[Any, Any]]:
    """Records and outcomes of the files, in their order."""
    from cnncli.run.items import items_of_files
    from cnncli.run.runner import run_items

    items = items_of_files(files, run, session.task.decode)
    return _followed(session, run_items(session, items, run, products), len(files), run, manners, path)


def _followed(
    session: Any,
    outcomes: Iterator[tuple[Any, Any]],
    total: int,
    run: RunConfig,
    manners: Manners,
    path: Path | None,
    overwrite: bool = False,
) -> Iterator[tuple[Any, Any]]:
    """The records and outcomes of a run, told of on standard error and kept in a file of records."""
    from contextlib import ExitStack

    from cnncli.cli.report import open_report
    from cnncli.run.checkpoint import RecordFile

    if path is not None and path.exists() and not overwrite:
        raise UsageError(f"{path}: exists; name another file")
    with ExitStack() as stack:
        progress = manners.progress and not manners.quiet
        report = stack.enter_context(open_report("none", progress, total, run, session.task))
        file = RecordFile(path, resume=False, overwrite=overwrite) if path else None
        for record, outcome in outcomes:
            if file is not None:
                file.write(record.as_dict())
            if not record.ok and not manners.quiet:
                report.message(record.complaint)
            report.add(record, outcome.result)
            yield record, outcome


def _show(figures: dict[str, Any], as_json: bool, table: str) -> None:
    """Print figures as JSON, or by a function of cli.figures, which imports rich."""
    if as_json:
        print_out(json.dumps(figures, indent=2))
        return
    from cnncli.cli import figures as tables

    getattr(tables, table)(figures)
