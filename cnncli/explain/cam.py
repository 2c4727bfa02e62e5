"""Class activation maps: which parts of a layer's maps speak for an answer (package grad-cam).

Sources: Selvaraju et al. 2017, "Grad-CAM", eq. 1 and 2; Chattopadhay et al. 2018, "Grad-CAM++", eq. 10 and 19.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cnncli.errors import UsageError
from cnncli.explain.answers import Target
from cnncli.explain.frames import view_of
from cnncli.explain.layout import Panel, heat_figure
from cnncli.explain.method import Arrays, Method
from cnncli.explain.packages import package
from cnncli.explain.subject import Subject
from cnncli.io.images import Photo
from cnncli.results.explain import Explanation

VARIANTS = {"grad-cam": "GradCAM", "grad-cam++": "GradCAMPlusPlus"}


@dataclass(frozen=True)
class Cam(Method):
    """Heat (h, w) of the input, 0 to 1: of the class `label` (or the network's own answer) in the maps of `layer`."""

    layer: str | None = None
    label: str | None = None
    variant: str = "grad-cam"
    name: ClassVar[str] = "cam"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise UsageError(f"--variant {self.variant}: choose {' or '.join(VARIANTS)}")

    def look(self, subject: Subject, pixels: np.ndarray) -> Arrays:
        images = subject.normalised(pixels)
        target = subject.target(images, self.label)
        size = images.shape[2], images.shape[3]
        path = subject.layer(self.layer, size) if self.layer else subject.last_map(images, target)
        shape = _map_shape(subject, images, path)
        kind = getattr(package("pytorch_grad_cam"), VARIANTS[self.variant])
        with kind(model=_Evidence(subject, target), target_layers=[subject.network.get_submodule(path)]) as cam:
            heat = cam(input_tensor=images.requires_grad_(True), targets=[lambda output: output[0]])[0]
        return {
            "heat": heat.astype(np.float32),
            "index": np.array(target.index),
            "score": np.array(target.score),
            "cells": np.array(shape),
            "layer": np.array(path),
        }

    def describe(self, subject: Subject, arrays: Arrays) -> tuple[dict[str, Any], str]:
        label, score = subject.answer.label_of(int(arrays["index"])), float(arrays["score"])
        row, column = np.unravel_index(int(arrays["heat"].argmax()), arrays["heat"].shape)
        size = arrays["heat"].shape
        layer = str(arrays["layer"])
        entries = {
            "label": label,
            "index": int(arrays["index"]),
            "score": round(score, 7),
            "variant": self.variant,
            "layer": layer,
            "cells": arrays["cells"].tolist(),
            "peak": [round((column + 0.5) / size[1], 4), round((row + 0.5) / size[0], 4)],
        }
        return entries, f"{label} {score:.1%}, {self.variant} of {layer}"

    def draw(self, subject: Subject, photo: Photo, found: Explanation) -> np.ndarray:
        view, part = view_of(subject.info, photo.pixels, found.seen)
        rows, columns = found.entries["cells"]
        entries = found.entries
        panel = Panel(
            f"{entries['label']} {entries['score']:.1%}: where the evidence is",
            view.laid(found.arrays["heat"][part]),
            (0, 1),
            "evidence, of the strongest",
        )
        title = f"{subject.info.name}: {self.variant} of {entries['layer']}, {rows} x {columns} cells"
        return heat_figure(title, "photo", view, [panel])


class _Evidence(nn.Module):
    """The network with one output (N, 1): what speaks for the target."""

    def __init__(self, subject: Subject, target: Target):
        super().__init__()
        self.network = subject.network
        self._subject, self._target = subject, target

    def forward(self, images: Tensor) -> Tensor:
        return self._subject.evidence(images, self._target)[:, None]


def _map_shape(subject: Subject, images: Tensor, path: str) -> tuple[int, int]:
    """Rows and columns of a layer's maps. UsageError where it has none to colour."""
    with torch.no_grad(), subject.watched(path) as given:
        subject.network(images)
    if len(given) != 1 or not isinstance(given[0], Tensor) or given[0].ndim != 4:
        raise UsageError(f"--layer {path}: gives no maps, or several at once; choose a convolution inside it")
    if min(given[0].shape[2:]) < 2:
        raise UsageError(f"--layer {path}: gives maps of one cell, which show no place; choose a layer before it")
    return tuple(given[0].shape[2:])
