"""The peers: what one writes after the tutorials, with the same weights as cnncli. A program of its own.

    python tests/bench/plain.py TASK LIST [--model NAME] [--device cpu] [--workers 2] [--batch 16]

LIST names a photo a line. classify and detect: Pillow, torchvision, a DataLoader, eager torch; on a GPU float16,
channels last, pinned memory and copies that don't wait. The other tasks: a plain loop, one photo at a time, through
the task's own code around its networks in eager torch. Answers go to standard output.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import batched_nms
from torchvision.transforms import InterpolationMode, v2

from cnncli.catalog import DEFAULT_MODELS, HALF_PRECISION, TASKS, resolve
from cnncli.imaging.boxes import stated_anchors
from cnncli.io.store import model_path
from cnncli.io.weights import ModelInfo, load_weights
from cnncli.nn.checkpoint import load_model

TOP, CONFIDENCE, OVERLAP, MOST = 5, 0.25, 0.5, 100  # what the commands answer by default


class Cropped(Dataset):
    """Photos as a classifier's recipe wants them: uint8 (3, H, W), and the original's width and height."""

    def __init__(self, files: list[str], info: ModelInfo):
        self.files = files
        size = v2.Resize(info.recipe["resize"], InterpolationMode.BICUBIC, antialias=True)
        self.prepare = v2.Compose([size, v2.CenterCrop(info.recipe["input"]), v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        photo = Image.open(self.files[index]).convert("RGB")
        return self.prepare(photo), torch.tensor(photo.size)


class Letterboxed(Cropped):
    """Photos as a detector's recipe wants them, in the top left of a square."""

    def __init__(self, files: list[str], info: ModelInfo):
        self.files = files
        self.size, self.fill = info.recipe["input"][0], info.recipe["fill"]
        self.prepare = v2.PILToTensor()

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        photo = Image.open(self.files[index]).convert("RGB")
        scale = self.size / max(photo.size)
        inner = [max(1, int(side * scale)) for side in photo.size]
        canvas = Image.new("RGB", (self.size, self.size), (self.fill,) * 3)
        canvas.paste(photo.resize(inner, Image.Resampling.BILINEAR), (0, 0))
        return self.prepare(canvas), torch.tensor(photo.size)


def batches(photos: Dataset, info: ModelInfo, options: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images on the device, and the originals' sizes."""
    on_gpu = options.device != "cpu"
    dtype = torch.float16 if on_gpu else torch.float32
    mean, std = (torch.tensor(part, dtype=dtype, device=options.device).view(3, 1, 1) for part in (info.mean, info.std))
    for images, sizes in DataLoader(photos, options.batch, num_workers=options.workers, pin_memory=on_gpu):
        images = images.to(options.device, non_blocking=True)
        if on_gpu:
            images = images.to(memory_format=torch.channels_last)
        yield (images.to(dtype) - mean) / std, sizes


def network(options: argparse.Namespace) -> tuple[torch.nn.Module, ModelInfo]:
    weights = load_weights(model_path(options.model))
    model = load_model(weights).model
    if options.device != "cpu":
        model = model.to(options.device, torch.float16).to(memory_format=torch.channels_last)
    return model, weights.info


def classify(files: list[str], options: argparse.Namespace) -> None:
    model, info = network(options)
    for images, _ in batches(Cropped(files, info), info, options):
        scores, labels = (value.cpu() for value in model(images)[0].float().softmax(1).topk(TOP))
        for row in range(len(images)):
            print([(info.classes[label], float(score)) for label, score in zip(labels[row], scores[row], strict=True)])


def detect(files: list[str], options: argparse.Namespace) -> None:
    model, info = network(options)
    anchors = torch.from_numpy(stated_anchors(info.recipe)).to(options.device, torch.float32)
    for images, sizes in batches(Letterboxed(files, info), info, options):
        logits, codes = (value.float() for value in model(images)[:2])
        centres = codes[..., :2] * anchors[:, 2:] + anchors[:, :2]
        halves = codes[..., 2:].exp() * anchors[:, 2:] / 2
        corners = torch.cat([centres - halves, centres + halves], dim=2)[..., [1, 0, 3, 2]]
        for row, size in enumerate(sizes.tolist()):
            scores = logits[row].sigmoid()
            anchor, label = (scores >= CONFIDENCE).nonzero(as_tuple=True)
            boxes, scores = corners[row][anchor] * (max(size) / info.recipe["input"][0]), scores[anchor, label]
            kept = batched_nms(boxes, scores, label, OVERLAP)[:MOST]
            found = zip(label[kept].tolist(), scores[kept].tolist(), boxes[kept].tolist(), strict=True)
            print([(info.classes[index], score, box) for index, score, box in found])


def loop(files: list[str], options: argparse.Namespace) -> None:
    """One photo after the other: decode, ask the network, answer."""
    entry = TASKS[options.task]
    chosen = resolve(entry.options)()
    weights = {role: load_weights(model_path(DEFAULT_MODELS[role])) for role in chosen.roles}
    half = options.device != "cpu" and all(role in HALF_PRECISION for role in weights)
    place = {"device": options.device, "dtype": torch.float16 if half else torch.float32}
    models = {
        role: load_model(model).to(**place).to(memory_format=torch.channels_last) for role, model in weights.items()
    }
    task = resolve(entry.analyser)({role: model.info for role, model in weights.items()}, chosen)
    for file in files:
        steps = task.analyse(np.array(Image.open(file).convert("RGB")))
        try:
            request = next(steps)
            while True:
                outputs = models[request.model](torch.from_numpy(np.array(request.array))[None].to(options.device))
                rows = (value[0].float().cpu().numpy() for value in outputs)
                request = steps.send(dict(zip(weights[request.model].info.outputs, rows, strict=True)))
        except StopIteration as end:
            print(type(end.value).__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("list", type=Path)
    parser.add_argument("--model", help="of classify and detect (default: cnncli's own)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2, help="processes of the DataLoader")
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    options.model = options.model or DEFAULT_MODELS.get(options.task)
    peers = {"classify": classify, "detect": detect}
    with torch.inference_mode():
        peers.get(options.task, loop)(options.list.read_text().splitlines(), options)


if __name__ == "__main__":
    main()
