"""Records to what a page shows of them: pictures with what was found drawn over them, and what they are found by.

Boxes are x, y, width, height and points x, y, in pixels of the upright photo.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnncli.catalog import EXPLANATIONS
from cnncli.imaging.overlay import numbered_colour

NO_FACE = "no face"
Bbox = Sequence[float]


class Colours:
    """A colour for each label, `#rrggbb`, by the order in which labels first come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, label: str, further: int = 0) -> str:
        """The colour so many places behind the label's own."""
        number = self._numbers.setdefault(label, len(self._numbers)) + further
        return "#{:02x}{:02x}{:02x}".format(*numbered_colour(number))


def _check(right: bool, what: str) -> None:
    """The scripts of a page rely on it."""
    if not right:
        raise ValueError(f"this is not {what}")


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, (list, tuple)) and len(values) == count and all(isinstance(v, (int, float)) for v in values)
    )


@dataclass(frozen=True)
class Mark:
    """What an entry is filtered by: a label (None: it only has a score) and a score in the entry's measure."""

    label: str | None
    score: float | None
    colour: str | None = None

    def __post_init__(self) -> None:
        _check(self.label is None or isinstance(self.label, str), "a label")
        _check(self.score is None or _are_numbers([self.score], 1), "a score")


@dataclass(frozen=True)
class Shape:
    """What is drawn over a picture."""

    label: str
    score: float | None
    colour: str
    box: Bbox
    points: Sequence[Sequence[float]] = ()

    def __post_init__(self) -> None:
        _check(isinstance(self.label, str), "a label")
        _check(self.score is None or _are_numbers([self.score], 1), "a score")
        _check(_are_numbers(self.box, 4), "a box")
        _check(all(_are_numbers(point, 2) for point in self.points), "points")


@dataclass(frozen=True)
class Area:
    """A part of a picture by COCO's run lengths, to be coloured."""

    rle: Mapping[str, Any]
    colour: str


@dataclass(frozen=True)
class View:
    """A picture of an entry: the file as the record names it; `result` where it is what the task has written."""

    file: str
    shapes: tuple[Shape, ...] = ()
    areas: tuple[Area, ...] = ()
    result: bool = False

    def __post_init__(self) -> None:
        _check(isinstance(self.file, str), "the name of a file")


@dataclass(frozen=True)
class Found:
    """What a record says: marks (best first), further words to search for, a note, and how many objects there are.

    `measure` names the scores. `views` are shown side by side, or, where the second is the first after the task's
    work (`compare`), one over the other.
    """

    views: tuple[View, ...]
    measure: str
    marks: tuple[Mark, ...] = ()
    words: tuple[str, ...] = ()
    note: str | None = None
    objects: int = 0
    compare: bool = False


Describe = Callable[[dict[str, Any], Colours], Found]


@dataclass(frozen=True)
class Describer:
    """Describes the records of one task, those without a result in the same way for all."""

    measure: str
    describe: Describe
    second: str = ""  # key of another picture of the record
    words: Mapping[str, str] = field(default_factory=dict)  # of failures: a part of the sentence, its label

    def found(self, record: dict[str, Any], colours: Colours) -> Found:
        """KeyError, TypeError or ValueError where the record is not as its schema says."""
        if record["ok"] and not record.get("skipped"):
            return self.describe(record, colours)
        name = record.get(self.second)
        second = (View(name, result=self.second == "output"),) if name else ()
        views = (View(record["file"]), *second)
        sentence = record.get("failure") or ""
        marks = tuple(Mark(label, None, colours.of(label)) for part, label in self.words.items() if part in sentence)
        return Found(views, self.measure, marks, note="skipped" if record.get("skipped") else None)


def classes(record: dict[str, Any], colours: Colours) -> Found:
    view = View(record["file"])
    if "classes" not in record:
        return Found((view,), "score", note=f"{len(record['features'])} features")
    labels = record["classes"]
    marks = tuple(Mark(entry["label"], entry["score"], colours.of(entry["label"])) for entry in labels[:1])
    return Found((view,), "score", marks, tuple(entry["label"] for entry in labels[1:]), objects=len(labels))


def detections(record: dict[str, Any], colours: Colours) -> Found:
    shapes = tuple(
        Shape(entry["label"], entry["score"], colours.of(entry["label"]), entry["bbox"], entry.get("points", ()))
        for entry in record["detections"]
    )
    marks = tuple(Mark(shape.label, shape.score, shape.colour) for shape in shapes)
    return Found((View(record["file"], shapes),), "score", marks, objects=len(shapes))


def segments(record: dict[str, Any], colours: Colours) -> Found:
    """Segments in the colours of their labels; over them instances, further ones of a label in colours of their own."""
    parts, instances = record["segments"], record.get("instances", ())
    own = _told_apart([entry["label"] for entry in instances], colours)
    areas = [Area(entry["rle"], colours.of(entry["label"])) for entry in parts]
    areas += [Area(entry["rle"], colour) for entry, colour in zip(instances, own, strict=True)]
    shapes = tuple(
        Shape(entry["label"], entry["score"], colour, entry["bbox"])
        for entry, colour in zip(instances, own, strict=True)
    )
    marks = tuple(Mark(entry["label"], entry["fraction"], colours.of(entry["label"])) for entry in parts)
    return Found((View(record["file"], shapes, tuple(areas)),), "share", marks, objects=len(shapes or parts))


def _told_apart(labels: Sequence[str], colours: Colours) -> list[str]:
    """A colour for each object: its label's for the first, the next ones for the others of that label."""
    return [colours.of(label, labels[:place].count(label)) for place, label in enumerate(labels)]


def _before_and_after(record: dict[str, Any]) -> tuple[View, ...]:
    after = (View(record["output"], result=True),) if record["output"] else ()
    return (View(record["file"]), *after)


def denoised(record: dict[str, Any], colours: Colours) -> Found:
    views = _before_and_after(record)
    note = f"sigma {record['sigma']:.1f}" + (f", {record['psnr']:.2f} dB" if record.get("psnr") else "")
    return Found(views, "sigma", (Mark(None, record["sigma"]),), note=note, compare=len(views) == 2)


def gradient(record: dict[str, Any], colours: Colours) -> Found:
    views = _before_and_after(record)
    note = f"{record['min']:.4g} to {record['max']:.4g}, mean {record['mean']:.4g}"
    return Found(views, "largest", (Mark(None, record["max"]),), note=note, compare=len(views) == 2)


def _face(area: dict[str, Any], label: str, score: float | None, colour: str) -> Shape:
    from cnncli.results.verify_face import POINTS

    return Shape(label, score, colour, [area[side] for side in "xywh"], [area[point] for point in POINTS])


def faces(record: dict[str, Any], colours: Colours) -> Found:
    """One of three forms: a pair, a photo with its nearest in a gallery, or the faces of a photo."""
    if "matches" in record:
        return _matches(record, colours)
    if "file2" in record:
        return _pair(record, colours)
    shapes = tuple(_face(face, "face", face["score"], colours.of("face")) for face in record["faces"])
    marks = tuple(Mark("face", shape.score, shape.colour) for shape in shapes)
    empty = (Mark(NO_FACE, None, colours.of(NO_FACE)),)
    return Found((View(record["file"], shapes),), "score", marks or empty, objects=len(shapes))


def _pair(record: dict[str, Any], colours: Colours) -> Found:
    label = "same person" if record["verified"] else "different"
    colour = colours.of(label)
    areas = record["facial_areas"]
    views = tuple(
        View(record[name], (_face(areas[side], "face", areas[side]["score"], colour),))
        for name, side in (("file", "img1"), ("file2", "img2"))
    )
    return Found(views, "distance", (Mark(label, record["distance"], colour),), objects=2)


def _matches(record: dict[str, Any], colours: Colours) -> Found:
    """Those of a gallery who are near enough, beside the photo the nearest one's."""
    candidates = record["matches"]
    known = [(entry["identity"], entry["distance"]) for entry in candidates if entry["verified"]]
    nobody = [("nobody known", candidates[0]["distance"] if candidates else None)]
    marks = tuple(Mark(label, distance, colours.of(label)) for label, distance in known or nobody)
    area = record["facial_area"]
    views = [View(record["file"], (_face(area, "face", area["score"], marks[0].colour or ""),))]
    views += [View(entry["file"]) for entry in candidates[:1]]
    words = tuple(entry["identity"] for entry in candidates)
    return Found(tuple(views), "distance", marks, words, objects=len(known))


def explanation(record: dict[str, Any], colours: Colours) -> Found:
    """The picture of what was found, which has the photo in it, or the photo alone."""
    found = record["explanation"]
    label = found.get("label")
    marks = (Mark(label, found.get("score"), colours.of(label)),) if label is not None else ()
    output = record.get("output")
    view = View(output, result=True) if output else View(record["file"])
    return Found((view,), "score", marks, (), note=found.get("layer"), objects=len(marks))


DESCRIBERS = {
    **{f"explain-{way}": Describer("score", explanation, "output") for way in EXPLANATIONS},
    "classify": Describer("score", classes),
    "detect": Describer("score", detections),
    "segment": Describer("share", segments),
    "denoise": Describer("sigma", denoised, "output"),
    "sobel": Describer("largest", gradient, "output"),
    "verify-face": Describer("distance", faces, "file2", {"no face found": NO_FACE}),
}
