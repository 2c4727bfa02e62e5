"""How much each pixel of the photo matters: gradients of the evidence for an answer (package captum).

Sources: Simonyan, Vedaldi & Zisserman 2014, "Deep Inside Convolutional Networks", sec. 3.1; Springenberg et al. 2015,
"Striving for Simplicity", sec. 3.4; Sundararajan, Taly & Yan 2017, "Axiomatic Attribution for Deep Networks", eq. 1.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from cnncli.errors import UsageError
from cnncli.explain.answers import Target
from cnncli.explain.frames import view_of
from cnncli.explain.layout import Panel, heat_figure
from cnncli.explain.method import Arrays, Method
from cnncli.explain.packages import package
from cnncli.explain.subject import Subject
from cnncli.io.images import Photo
from cnncli.results.explain import Explanation

TITLES = {
    "gradient": "gradient",
    "guided": "guided backpropagation",
    "integrated": "integrated gradients, from black",
}
ALL = "all"
BATCH_PIXELS = 8 * 224 * 224  # of the steps that are computed at once
PERCENTILE = 99  # of a map: the end of its scale, or a few pixels would leave the others dark
SCALE = f"size, of the {PERCENTILE}th percentile"


@dataclass(frozen=True)
class Saliency(Method):
    """Maps (h, w) of the input for the class `label` (or the network's own answer); "all": of each method.

    A map holds the largest absolute value of a pixel's channels; `steps` are those of the integral.
    """

    method: str = ALL
    label: str | None = None
    steps: int = 50
    name: ClassVar[str] = "saliency"

    def __post_init__(self) -> None:
        if self.method not in (*TITLES, ALL):
            raise UsageError(f"--method {self.method}: choose {', '.join(TITLES)} or {ALL}")
        if self.steps < 1:
            raise UsageError(f"--steps {self.steps}: give 1 or more")

    def look(self, subject: Subject, pixels: np.ndarray) -> Arrays:
        images = subject.normalised(pixels)
        target = subject.target(images, self.label)
        found: Arrays = {"index": np.array(target.index), "score": np.array(target.score)}
        if self.method in ("gradient", ALL):
            found["gradient"] = largest(gradient(subject, images, target))
        if self.method in ("guided", ALL):
            found |= self._guided(subject, images, target)
        if self.method in ("integrated", ALL):
            attributions, gap = integrated(subject, images, target, self.steps)
            found |= {"integrated": largest(attributions), "gap": np.array(gap)}
        return found

    def _guided(self, subject: Subject, images: Tensor, target: Target) -> Arrays:
        """Left out of "all" where the network has nothing to guide."""
        with Guided() as guided:
            attributions = gradient(subject, images, target)
        if guided.count:
            return {"guided": largest(attributions)}
        if self.method == ALL:
            return {}
        raise UsageError(f"--method guided: {subject.info.name} has no ReLU to guide; choose gradient or integrated")

    def describe(self, subject: Subject, arrays: Arrays) -> tuple[dict[str, Any], str]:
        label, score = subject.answer.label_of(int(arrays["index"])), float(arrays["score"])
        methods = [method for method in TITLES if method in arrays]
        entries: dict[str, Any] = {
            "label": label,
            "index": int(arrays["index"]),
            "score": round(score, 7),
            "methods": methods,
        }
        if "integrated" in arrays:
            gap = float(arrays["gap"])
            entries |= {"steps": self.steps, "completeness_gap": round(gap, 6) if np.isfinite(gap) else None}
        return entries, f"{label} {score:.1%}, {', '.join(methods)}"

    def draw(self, subject: Subject, photo: Photo, found: Explanation) -> np.ndarray:
        view, part = view_of(subject.info, photo.pixels, found.seen)
        panels = [
            Panel(TITLES[method], view.laid(shown(found.arrays[method])[part]), (0, 1), SCALE, veil=1)
            for method in found.entries["methods"]
        ]
        title = f"{subject.info.name}: what {found.entries['label']} {found.entries['score']:.1%} depends on"
        return heat_figure(title, "photo", view, panels)


def gradient(subject: Subject, images: Tensor, target: Target) -> Tensor:
    """The gradient of the evidence by the normalised input (1, C, H, W), of the same shape."""
    attribution = package("captum.attr").Saliency(lambda batch: subject.evidence(batch, target))
    return attribution.attribute(images.detach().requires_grad_(True), abs=False)


def integrated(subject: Subject, images: Tensor, target: Target, steps: int) -> tuple[Tensor, float]:
    """Integrated gradients (1, C, H, W) from black, by Gauss-Legendre quadrature, and how far they are from complete.

    They should add up to what the evidence gains from black to the photo: the difference, as a share of that gain;
    NaN where nothing is gained.
    """
    black = subject.limits[0].expand_as(images)
    attribution = package("captum.attr").IntegratedGradients(lambda batch: subject.evidence(batch, target))
    batch = max(1, BATCH_PIXELS // (images.shape[2] * images.shape[3]))
    found = attribution.attribute(images.detach(), black, n_steps=steps, internal_batch_size=batch)
    with torch.no_grad():
        gain = float(subject.evidence(images, target) - subject.evidence(black, target))
    return found, abs(float(found.double().sum()) - gain) / abs(gain) if gain else float("nan")


class Guided(TorchFunctionMode):
    """Inside, ReLU and ReLU6 send back only what raises the answer: negative gradients end at them.

    captum's GuidedBackprop does so for the module nn.ReLU alone; networks here have ReLU6 too, and sums followed by
    F.relu. `count` of the ReLUs that ran; a PReLU, which lets negative values pass, is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        rectifies = func in (F.relu, F.relu6) or (func is F.hardtanh and kwargs["min_val"] == 0)  # nn.ReLU6 is one
        if rectifies and args[0].requires_grad:
            self.count += 1
            taken = args[0].clone()  # the hook is for this use of the map alone
            taken.register_hook(lambda slope: slope.clamp(min=0))
            args = (taken, *args[1:])
        return func(*args, **kwargs)


def largest(attributions: Tensor) -> np.ndarray:
    """The largest absolute value of the channels: (1, C, H, W) to (H, W)."""
    return attributions[0].detach().abs().amax(0).float().cpu().numpy()


def shown(values: np.ndarray) -> np.ndarray:
    """A map (h, w) divided by its 99th percentile, 0 to 1."""
    return (values / (np.percentile(values, PERCENTILE) or values.max() or 1)).clip(0, 1)
