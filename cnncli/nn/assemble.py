"""Whole models from the catalog's backbones and heads."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.catalog import BACKBONES, HEADS, NETWORKS, resolve
from cnncli.errors import UsageError, WeightsError
from cnncli.io.weights import ModelInfo
from cnncli.nn.heads.classify import ClassifyHead
from cnncli.nn.pooling import BlurPool
from cnncli.nn.surgery import antialias as blur_before_halving
from cnncli.nn.surgery import dilate, replace_norms
from cnncli.nn.torchvision_networks import PREFIX, TorchvisionClassifier

PUBLISHED = "published"  # the end of a network as its authors made it: an entry "end" of a classifier's head

# The heads of fresh classifiers whose published end is a ClassifyHead.
POOLED_HEADS = {
    "mobilenet_v2": {"hidden": 1280, "dropout": 0.2},
    "efficientnet_lite0": {"hidden": 1280, "dropout": 0.2},
    "efficientnet_lite1": {"hidden": 1280, "dropout": 0.2},
    "efficientnet_lite2": {"hidden": 1280, "dropout": 0.3},
    "efficientnet_lite3": {"hidden": 1280, "dropout": 0.3},
    "efficientnet_lite4": {"hidden": 1280, "dropout": 0.3},
}


class Classifier(nn.Module):
    """Normalised RGB batch (N, 3, H, W) to logits (N, classes) and pooled features (N, F)."""

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.backbone(x)[-1])


class AuxiliaryClassifier(Classifier):
    """A classifier with further ones at steps inside its backbone; in training their logits follow, input to output."""

    def __init__(self, backbone: nn.Module, head: nn.Module, auxiliary: Mapping[str, nn.Module]):
        super().__init__(backbone, head)
        self.auxiliary = nn.ModuleDict(auxiliary)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if not self.training:
            return super().forward(x)
        *inner, last = self.backbone.outputs(x, (*self.auxiliary, self.backbone.taps[-1]))
        answers = [head(maps) for head, maps in zip(self.auxiliary.values(), inner, strict=True)]
        return *self.head(last), *answers


class FromPixels(nn.Module):
    """A model that takes what a file holds: uint8 (N, H, W, 3), normalised here by mean and std in 0..255.

    Denoisers take float32 (N, H, W, 4), RGB in 0..1 and the noise level, with a mean of 0 and a std of 1.
    """

    mean: Tensor
    std: Tensor
    model: nn.Module

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels = images.permute(0, 3, 1, 2).to(self.mean.dtype)
        return self.model((pixels - self.mean) / self.std)


def build(info: ModelInfo) -> nn.Module:
    """The network that a weights file describes, with random parameters."""
    head = dict(info.head)
    kind = head.pop("kind", None)
    reference = NETWORKS.get(info.task) if kind is None else HEADS.get(info.task, {}).get(kind)
    if reference is None:
        named = f"'{info.task}'" if kind is None else f"'{info.task}' with a head '{kind}'"
        raise WeightsError(f"networks for {named} are not in this version's catalog; update cnncli")
    return resolve(reference)(info.backbone, head, len(info.classes))


def default_head(backbone: str, **choices: Any) -> dict[str, Any]:
    """The head of a fresh classifier as published, but for `choices` ("dropout", "hidden", …) that are not None.

    "hidden", a 1x1 convolution to so many channels, takes the place of a published end. Without one that is known it is
    empty: the global mean and a linear layer.
    """
    chosen = {name: value for name, value in choices.items() if value is not None}
    usual: Mapping[str, Any] = POOLED_HEADS.get(backbone, {})
    if "hidden" not in chosen and _of_family(backbone, "published_head"):
        usual = {"end": PUBLISHED}
    return {**usual, **chosen}


def classifier(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """Logits (N, classes) and features (N, F) of a normalised RGB batch; in training auxiliary logits after them.

    `head`: "backbone" with the options of `build_backbone`, "dropout", and either "end": "published" or "hidden", the
    width of a 1x1 convolution before the global mean, which may be left out. Of torchvision's own classifiers
    ("torchvision/resnet50") it holds the options of torchvision's builder.
    """
    if backbone.startswith(PREFIX):
        return TorchvisionClassifier(backbone.removeprefix(PREFIX), classes, **head)
    options = dict(head)
    trunk_options = options.pop("backbone", {})
    trunk = build_backbone(backbone, **trunk_options)
    if options.pop("end", None) == PUBLISHED:
        network = _published(backbone, trunk, classes, **options)
    else:
        network = Classifier(trunk, ClassifyHead(trunk.channels[-1], classes, **options))
    replace_norms(network, trunk_options.get("norm") or "batch")
    return network


def _published(name: str, trunk: nn.Module, classes: int, dropout: float | None = None) -> nn.Module:
    published_head = _of_family(name, "published_head")
    if published_head is None:
        raise UsageError(f"backbone {name} has no end of its own: give its head 'hidden' and 'dropout'")
    head = published_head(name, classes, dropout)
    auxiliary_heads = _of_family(name, "auxiliary_heads")
    if auxiliary_heads is None:
        return Classifier(trunk, head)
    return AuxiliaryClassifier(trunk, head, auxiliary_heads(name, classes))


def _of_family(backbone: str, function: str) -> Any:
    """What the module of a backbone has beside it, or None."""
    family = BACKBONES.get(backbone, "").partition(":")[0]
    return getattr(importlib.import_module(family), function, None) if family else None


def build_backbone(
    name: str,
    norm: str | None = None,
    antialias: bool = False,
    output_stride: int | None = None,
    dropout: float | None = None,
    **options: Any,
) -> nn.Module:
    """A backbone of the catalog: RGB batch (N, 3, H, W), already normalised, to a list of maps, fine to coarse.

    It states `channels` and `strides` of the maps, `stages` (its parts from input to output; see `stages_of`) and
    `least_size`, the pixels of the shortest side that it takes. `norm`: "batch", "group", "instance" or "none" in
    place of its batch norm; `antialias`: maps are blurred before they are halved; `output_stride` (8, 16, 32): no map
    is coarser, later convolutions are dilated; `dropout`: between its layers. UsageError where it has no such choice.
    Further `options` are the architecture's own.
    """
    if name not in BACKBONES:
        raise WeightsError(f"backbone '{name}' is not in this version's catalog; update cnncli")
    builder = resolve(BACKBONES[name])
    if dropout is not None:
        if "dropout" not in inspect.signature(builder).parameters:
            raise UsageError(f"backbone {name} has no dropout between its layers; that of a head is another")
        options["dropout"] = dropout
    backbone = builder(**options)
    if norm is not None:
        _normalise(name, backbone, norm)
    if output_stride is not None:
        _limit_stride(name, backbone, output_stride)
    if antialias:
        blur_before_halving(backbone)
        if not any(isinstance(layer, BlurPool) for layer in backbone.modules()):
            raise UsageError(f"backbone {name} has no layer that halves its maps and could blur them before")
    return backbone


def _normalise(name: str, backbone: nn.Module, norm: str) -> None:
    if not replace_norms(backbone, norm) and norm != "none":
        other = f"; take {name}_bn" if f"{name}_bn" in BACKBONES else ""
        raise UsageError(f"backbone {name} has no normalisation to choose{other}")
    if norm == "instance":  # of one cell there is no variance
        backbone.least_size = max(backbone.least_size, 2 * backbone.strides[-1])


def _limit_stride(name: str, backbone: nn.Module, output_stride: int) -> None:
    coarsest = backbone.strides[-1]
    if output_stride > coarsest:
        raise UsageError(f"backbone {name} ends at stride {coarsest}: an output stride of {output_stride} is no choice")
    kept = dilate(backbone, output_stride)
    if not kept >= {stride for stride in backbone.strides if stride > output_stride}:
        raise UsageError(f"backbone {name} halves its maps outside of its layers: its output stride is no choice")
    backbone.strides = tuple(min(stride, output_stride) for stride in backbone.strides)


def stages_of(backbone: nn.Module) -> list[nn.Module]:
    """The parts of a backbone from input to output, the stem first; all its parameters are in them."""
    stem = getattr(backbone, "stem", None)
    return [*backbone.stages] if stem is None else [stem, *backbone.stages]
