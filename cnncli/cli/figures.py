"""Figures of `cnncli eval` as tables for a terminal."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cnncli.cli.streams import print_out

MATRIX_UP_TO = 20  # classes: a larger confusion matrix does not fit a terminal


def show_classification(figures: dict[str, Any]) -> None:
    classes = Table("class", "photos", "top-1", "top-5", box=SIMPLE_HEAD)
    for entry in figures["classes"]:
        classes.add_row(entry["label"], str(entry["photos"]), f"{entry['top1']:.1f}", f"{entry['top5']:.1f}")
    print_out(classes)
    print_out(_confusion(figures))
    failed = f", {figures['failed']} failed (counted as wrong)" if figures["failed"] else ""
    print_out(
        f"{figures['model']}, {figures['engine']} engine: top-1 {figures['top1']:.2f} %, "
        f"top-5 {figures['top5']:.2f} % of {figures['photos']} photos{failed}"
    )


def _confusion(figures: dict[str, Any]) -> Any:
    """The whole matrix for a few classes, else the commonest mistakes."""
    pairs = figures["confusion"]
    names = list(dict.fromkeys([e["label"] for e in figures["classes"]] + [e["predicted"] for e in pairs]))
    if len(names) <= MATRIX_UP_TO:
        counts = {(entry["label"], entry["predicted"]): entry["photos"] for entry in pairs}
        table = Table("truth \\ answer", *names, box=SIMPLE_HEAD, title="confusion matrix", title_justify="left")
        for truth in names:
            table.add_row(truth, *(str(counts.get((truth, answer), "")) for answer in names))
        return table
    table = Table("truth", "taken for", "photos", box=SIMPLE_HEAD, title="commonest mistakes", title_justify="left")
    mistakes = [entry for entry in pairs if entry["label"] != entry["predicted"]]
    for entry in mistakes[:MATRIX_UP_TO]:
        table.add_row(entry["label"], entry["predicted"], str(entry["photos"]))
    return table


def show_detection(figures: dict[str, Any]) -> None:
    classes = Table("class", "marked", "AP", box=SIMPLE_HEAD)
    for entry in figures["classes"]:
        classes.add_row(entry["label"], str(entry["marked"]), f"{entry['AP']:.1f}")
    print_out(classes)
    shown = [f"{name} {value:.2f}" for name, value in figures.items() if name[:2] in ("AP", "AR") and value is not None]
    print_out(", ".join(shown))
    failed = f", {figures['failed']} failed (nothing found in them)" if figures["failed"] else ""
    print_out(f"{figures['model']}, {figures['engine']} engine, {figures['images']} photos{failed}")


def show_segmentation(figures: dict[str, Any]) -> None:
    classes = Table("class", "pixels", "IoU", box=SIMPLE_HEAD)
    for entry in figures["classes"]:
        classes.add_row(entry["label"], f"{entry['pixels']:,}", f"{entry['IoU']:.1f}")
    print_out(classes)
    failed = f", {figures['failed']} failed (not counted)" if figures["failed"] else ""
    print_out(
        f"{figures['model']}, {figures['engine']} engine: mIoU {figures['mIoU'] or 0:.2f} %, pixel accuracy "
        f"{figures['pixel_accuracy']:.2f} % of {figures['images']} photos{failed}"
    )


def show_denoising(figures: dict[str, Any]) -> None:
    table = Table("sigma", "noise", "picture", "PSNR dB", "SSIM", box=SIMPLE_HEAD)
    for entry in figures["levels"]:
        for depth in (name for name in entry if name != "sigma"):
            for name, score in entry[depth].items():
                decibels = "equal" if score["psnr"] is None else f"{score['psnr']:.2f}"
                table.add_row(f"{entry['sigma']:g}", depth, name.replace("_", " "), decibels, f"{score['ssim']:.4f}")
    print_out(table)
    level = "estimated" if figures["blind"] else "known"
    failed = f", {figures['failed']} failed (not counted)" if figures["failed"] else ""
    engine = f"{figures['model']}, {figures['engine']} engine"
    print_out(f"{engine}, noise level {level}, mean of {figures['images']} photos{failed}")


def show_verification(figures: dict[str, Any]) -> None:
    table = Table("figure", "value", box=SIMPLE_HEAD)
    for name, value in figures.items():
        if isinstance(value, (int, float)):
            percent = name not in ("pairs", "missed", "threshold", "AUC", "calibrated_threshold")
            table.add_row(name.replace("_", " "), f"{value:g} %" if percent else f"{value:g}")
    print_out(table)
    print_out(f"{figures['model']}, {figures['engine']} engine, {figures['metric']} distance")
