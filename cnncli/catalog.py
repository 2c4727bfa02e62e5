"""The one table of tasks, backbones and models: plain data, so that help and completion import nothing heavy.

Adding a backbone: one file in `nn/backbones/` and one line here. Adding a task: `tasks/x.py`, `cli/x.py`,
a record in `results.py` and one line here. Code is named as "module:attribute" and imported when used.
"""

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TaskEntry:
    summary: str
    analyser: str  # class in `tasks/`, see tasks.base.Task
    options: str  # dataclass of the options that change its answers
    device_front: str | None = None  # function in `nn`: task -> module that decodes and shapes photos on a device
    device_step: str | None = None  # function in `nn`: task -> module that shrinks the outputs before they leave a GPU
    fixed_weights: str | None = None  # function: options -> weights that need no file, for a task without a network


@dataclass(frozen=True)
class ModelEntry:
    """A model whose weights are in the repository; the rest is in the header of its file."""

    task: str
    summary: str
    macs: int  # multiply-adds for an input of its recipe's size


TASKS: dict[str, TaskEntry] = {
    "classify": TaskEntry(
        "What is in the photo: the best labels of a list of classes.",
        analyser="cnncli.tasks.classify:Classify",
        options="cnncli.tasks.classify:ClassifyOptions",
        device_front="cnncli.nn.photos:classify_front",
    ),
    "detect": TaskEntry(
        "Where things are in the photo: a label, a score and a box for each.",
        analyser="cnncli.tasks.detect:Detect",
        options="cnncli.tasks.detect:DetectOptions",
        device_front="cnncli.nn.photos:detect_front",
        device_step="cnncli.nn.candidates:detection_candidates",
    ),
    "segment": TaskEntry(
        "Which pixels belong to what: a mask of classes, or the main object cut out.",
        analyser="cnncli.tasks.segment:Segmenter",
        options="cnncli.tasks.segment:SegmentOptions",
    ),
    "denoise": TaskEntry(
        "The photo without its noise, in its own size, depth and format.",
        analyser="cnncli.tasks.denoise:Denoise",
        options="cnncli.tasks.denoise:DenoiseOptions",
    ),
    "verify-face": TaskEntry(
        "Is it the same person: the distance of two faces, or the nearest of a gallery.",
        analyser="cnncli.tasks.verify_face:FaceFinder",
        options="cnncli.tasks.verify_face:FaceOptions",
    ),
    "sobel": TaskEntry(
        "Edges: how fast and in which direction the brightness changes.",
        analyser="cnncli.tasks.sobel:Sobel",
        options="cnncli.tasks.sobel:SobelOptions",
        fixed_weights="cnncli.tasks.sobel:fixed_weights",
    ),
}

# What --model is without being given, for everything that a model can be made for.
DEFAULT_MODELS: dict[str, str] = {
    "classify": "efficientnet_lite2",
    "detect": "efficientdet_lite2",
    "segment": "deeplabv3_mobilenetv2",
    "foreground": "u2netp",
    "denoise": "ffdnet_color",
    "find-face": "yunet",
    "embed-face": "sface",
}

# What a model can be made for, and the function that builds its network: backbone, head, number of classes -> module.
NETWORKS: dict[str, str] = {
    "classify": "cnncli.nn.assemble:classifier",
    "detect": "cnncli.nn.detectors:efficientdet",
    "segment": "cnncli.nn.segmenters:deeplab",
    "foreground": "cnncli.nn.segmenters:u2net",
    "denoise": "cnncli.nn.denoisers:ffdnet",
    "sobel": "cnncli.nn.filters:derivatives",
    "find-face": "cnncli.nn.faces:yunet",
    "embed-face": "cnncli.nn.faces:embedder",
}

# Networks of models that state the kind of their head: what `train` makes, by role and kind.
HEADS: dict[str, dict[str, str]] = {
    "embed-face": {
        "triplet": "cnncli.nn.faces:triplet",
        "siamese": "cnncli.nn.faces:siamese",
        "cosine": "cnncli.nn.faces:cosine",
    },
    "denoise": {
        "unet": "cnncli.nn.denoisers:unet",
        "dncnn": "cnncli.nn.denoisers:dncnn",
        "ffdnet": "cnncli.nn.denoisers:ffdnet",
    },
    "classify": {"linear": "cnncli.nn.assemble:classifier"},
    "detect": {
        "efficientdet": "cnncli.nn.detectors:efficientdet",
        "grid": "cnncli.nn.detectors:grid",
        "localize": "cnncli.nn.detectors:localizer",
        "landmarks": "cnncli.nn.detectors:landmarks",
    },
    "segment": {
        "unet": "cnncli.nn.pixel_classifiers:unet",
        "fcn32": "cnncli.nn.pixel_classifiers:fcn32",
        "fcn16": "cnncli.nn.pixel_classifiers:fcn16",
        "fcn8": "cnncli.nn.pixel_classifiers:fcn8",
        "deeplabv3": "cnncli.nn.pixel_classifiers:deeplabv3",
        "segnet": "cnncli.nn.pixel_classifiers:segnet",
        "deconvnet": "cnncli.nn.pixel_classifiers:deconvnet",
        "mask-rcnn": "cnncli.nn.instance_segmenters:mask_rcnn",
    },
}

# Ways of looking inside a network that give a record for each photo: commands of `explain`.
EXPLANATIONS = ("cam", "occlusion", "saliency", "activations", "deconv", "shift")

# How each task is trained: a class of `train.recipes`.
RECIPES: dict[str, str] = {
    "verify-face": "cnncli.train.recipes.verify_face:VerifyFaceRecipe",
    "denoise": "cnncli.train.recipes.denoise:DenoiseRecipe",
    "classify": "cnncli.train.recipes.classify:ClassifyRecipe",
    "detect": "cnncli.train.recipes.detect:DetectRecipe",
    "segment": "cnncli.train.recipes.segment:segment_recipe",
}

# What answers the same in half precision: scores within 0.005, measured. The others' pictures and points would move.
HALF_PRECISION = ("classify", "detect", "segment")

BACKBONES: dict[str, str] = {
    "lenet5": "cnncli.nn.backbones.lenet:lenet5",
    "alexnet": "cnncli.nn.backbones.alexnet:alexnet",
    "zfnet": "cnncli.nn.backbones.zfnet:zfnet",
    "vgg11": "cnncli.nn.backbones.vgg:vgg11",
    "vgg11_bn": "cnncli.nn.backbones.vgg:vgg11_bn",
    "vgg13": "cnncli.nn.backbones.vgg:vgg13",
    "vgg13_bn": "cnncli.nn.backbones.vgg:vgg13_bn",
    "vgg16": "cnncli.nn.backbones.vgg:vgg16",
    "vgg16_bn": "cnncli.nn.backbones.vgg:vgg16_bn",
    "vgg19": "cnncli.nn.backbones.vgg:vgg19",
    "vgg19_bn": "cnncli.nn.backbones.vgg:vgg19_bn",
    "nin": "cnncli.nn.backbones.nin:nin",
    "googlenet": "cnncli.nn.backbones.googlenet:googlenet",
    "resnet18": "cnncli.nn.backbones.resnet:resnet18",
    "resnet34": "cnncli.nn.backbones.resnet:resnet34",
    "resnet50": "cnncli.nn.backbones.resnet:resnet50",
    "resnet101": "cnncli.nn.backbones.resnet:resnet101",
    "resnet152": "cnncli.nn.backbones.resnet:resnet152",
    "densenet121": "cnncli.nn.backbones.densenet:densenet121",
    "densenet161": "cnncli.nn.backbones.densenet:densenet161",
    "densenet169": "cnncli.nn.backbones.densenet:densenet169",
    "densenet201": "cnncli.nn.backbones.densenet:densenet201",
    "squeezenet1_0": "cnncli.nn.backbones.squeezenet:squeezenet1_0",
    "squeezenet1_1": "cnncli.nn.backbones.squeezenet:squeezenet1_1",
    "mobilenet_v2": "cnncli.nn.backbones.mobilenet_v2:MobileNetV2",
    "efficientnet_lite0": "cnncli.nn.backbones.efficientnet_lite:lite0",
    "efficientnet_lite1": "cnncli.nn.backbones.efficientnet_lite:lite1",
    "efficientnet_lite2": "cnncli.nn.backbones.efficientnet_lite:lite2",
    "efficientnet_lite3": "cnncli.nn.backbones.efficientnet_lite:lite3",
    "efficientnet_lite4": "cnncli.nn.backbones.efficientnet_lite:lite4",
    "efficientnet_b0": "cnncli.nn.backbones.efficientnet:efficientnet_b0",
    "efficientnet_b1": "cnncli.nn.backbones.efficientnet:efficientnet_b1",
    "efficientnet_b2": "cnncli.nn.backbones.efficientnet:efficientnet_b2",
    "efficientnet_b3": "cnncli.nn.backbones.efficientnet:efficientnet_b3",
    "efficientnet_b4": "cnncli.nn.backbones.efficientnet:efficientnet_b4",
    "efficientnet_b5": "cnncli.nn.backbones.efficientnet:efficientnet_b5",
    "efficientnet_b6": "cnncli.nn.backbones.efficientnet:efficientnet_b6",
    "efficientnet_b7": "cnncli.nn.backbones.efficientnet:efficientnet_b7",
    "unet": "cnncli.nn.backbones.unet:unet",
    "unet_small": "cnncli.nn.backbones.unet:unet_small",
}

MODELS: dict[str, ModelEntry] = {
    "efficientnet_lite2": ModelEntry(
        "classify", "EfficientNet-Lite2, 260 px, 1000 ImageNet classes (default)", 859_736_272
    ),
    "efficientnet_lite0": ModelEntry(
        "classify", "EfficientNet-Lite0, 224 px, 1000 ImageNet classes (fast)", 385_187_552
    ),
    "efficientdet_lite2": ModelEntry("detect", "EfficientDet-Lite2, 448 px, 80 COCO classes (default)", 3_371_304_384),
    "efficientdet_lite0": ModelEntry("detect", "EfficientDet-Lite0, 320 px, 80 COCO classes (fast)", 973_589_696),
    "deeplabv3_mobilenetv2": ModelEntry(
        "segment", "DeepLabv3 on MobileNetV2, 513 px, 21 VOC classes (default)", 8_825_853_632
    ),
    "u2netp": ModelEntry(
        "foreground", "U2-Netp, 320 px, the main object (default of segment --foreground)", 19_756_089_600
    ),
    "ffdnet_color": ModelEntry(
        "denoise", "FFDNet for colour photos, any size, noise levels 0 to 75 (default)", 871_464_960
    ),
    "yunet": ModelEntry("find-face", "YuNet, any size, faces and five points of each (default)", 86_056_000),
    "sface": ModelEntry("embed-face", "SFace, 112 px aligned faces, cosine distance (default)", 574_138_880),
    "dlib_resnet29": ModelEntry(
        "embed-face", "dlib's ResNet-29, 150 px aligned faces, euclidean distance", 270_854_144
    ),
}


def resolve(reference: str) -> Any:
    """The object behind "module:attribute"."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
