"""Networks that give every pixel a class, made of any backbone that has the maps for it: what `train segment` makes.

Each takes a normalised RGB batch (N, 3, H, W) and gives one tuple of logits (N, classes, h, w) at a stride of its own.
They are of the pixel-centred grid: bilinear interpolation without align_corners gives those of the pixels. `head` holds
"backbone", the options of `build_backbone` (its "norm" is that of the decoder too), and what is said at each function.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from cnncli.errors import UsageError
from cnncli.nn.assemble import build_backbone
from cnncli.nn.heads.aspp import DeepLabV3Head
from cnncli.nn.heads.fcn import FCNHead
from cnncli.nn.heads.unet import UNetHead
from cnncli.nn.heads.unpooling import DeconvNetDecoder, SegNetDecoder, pooled
from cnncli.nn.surgery import replace_norms

CHANNELS = {"fcn": 256, "deeplabv3": 128, "unet": 128, "deconvnet": 1024}  # where `head` names none
DROPOUT = 0.5  # between the layers of FCN and deconvnet, as in VGG; before DeepLab's last ones as torchvision has it
FINEST = 4  # stride of U-Net's logits


class PixelClassifier(nn.Module):
    """A backbone and a head of its maps."""

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.head(self.backbone(x)),)


class UnpoolingClassifier(nn.Module):
    """A VGG backbone, run block by block, and a decoder that is told where its maxima were."""

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.head(*pooled(self.backbone.blocks, x)),)


def fcn(backbone: str, head: Mapping[str, Any], classes: int, kind: str) -> nn.Module:
    """`kind` fcn32, fcn16 or fcn8; `channels` (256) of the two layers before the scores, `dropout` (0.5) after each."""
    trunk = build_backbone(backbone, **head.get("backbone", {}))
    channels, dropout = head.get("channels", CHANNELS["fcn"]), head.get("dropout", DROPOUT)
    return PixelClassifier(trunk, FCNHead(kind, trunk.channels, trunk.strides, classes, channels, dropout))


fcn32, fcn16, fcn8 = (partial(fcn, kind=kind) for kind in ("fcn32", "fcn16", "fcn8"))


def deeplabv3(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`channels` (128) of each branch, `dropout` (0.5). The backbone's output stride is to be 8 or 16."""
    trunk = build_backbone(backbone, **head.get("backbone", {}))
    if trunk.strides[-1] > 16:
        raise UsageError(f"head deeplabv3 needs maps of stride 16 or 8, {backbone}'s end at {trunk.strides[-1]}; "
                         "give --output-stride 16, another backbone or another head")  # fmt: skip
    channels, dropout = head.get("channels", CHANNELS["deeplabv3"]), head.get("dropout", DROPOUT)
    decoder = DeepLabV3Head(trunk.channels[-1], trunk.strides[-1], classes, channels, dropout)
    return PixelClassifier(trunk, _normalised(decoder, head))


def unet(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`channels` (128): most of a step; `finest` (4): stride of the logits; `dropout` (0) before them.

    With the backbone "unet", 512 channels and finest 1 it is the network of the paper.
    """
    trunk = build_backbone(backbone, **head.get("backbone", {}))
    channels, finest = head.get("channels", CHANNELS["unet"]), head.get("finest", FINEST)
    decoder = UNetHead(trunk.channels, trunk.strides, classes, channels, finest, head.get("dropout", 0.0))
    return PixelClassifier(trunk, _normalised(decoder, head))


def segnet(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`dropout` (0) before the scores. The backbone is a VGG."""
    trunk = _vgg("segnet", backbone, head)
    return UnpoolingClassifier(trunk, _normalised(SegNetDecoder(trunk.blocks, classes, head.get("dropout", 0.0)), head))


def deconvnet(backbone: str, head: Mapping[str, Any], classes: int) -> nn.Module:
    """`cells` (rows, columns) of the last pooled map, all in one code of `channels` (1024; in the paper 4096)."""
    trunk = _vgg("deconvnet", backbone, head)
    code, dropout = head.get("channels", CHANNELS["deconvnet"]), head.get("dropout", DROPOUT)
    decoder = DeconvNetDecoder(trunk.blocks, tuple(head["cells"]), code, classes, dropout)
    return UnpoolingClassifier(trunk, _normalised(decoder, head))


def _vgg(kind: str, backbone: str, head: Mapping[str, Any]) -> nn.Module:
    options = head.get("backbone", {})
    for name in ("antialias", "output_stride"):
        if options.get(name):
            raise UsageError(f"head {kind} puts values back where VGG's pools took them from: no {name} with it")
    trunk = build_backbone(backbone, **options)
    if not hasattr(trunk, "blocks"):
        raise UsageError(f"head {kind} mirrors the pools of a VGG, {backbone} is none; choose vgg11_bn to vgg19_bn")
    return trunk


def _normalised(decoder: nn.Module, head: Mapping[str, Any]) -> nn.Module:
    replace_norms(decoder, head.get("backbone", {}).get("norm") or "batch")
    return decoder
