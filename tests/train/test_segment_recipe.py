"""Training segmenters: data as people lay it out, losses by torch's and by hand, and heads that learn by heart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.errors import UsageError
from cnncli.evaluate.segment import Agreement, Pair
from cnncli.imaging.masks import palette
from cnncli.io.images import Photo
from cnncli.io.sources import Input
from cnncli.nn.assemble import FromPixels
from cnncli.run.items import Item
from cnncli.tasks.segment import Segmenter, SegmentOptions
from cnncli.train.config import TrainConfig
from cnncli.train.losses_masks import MaskMeter, pixel_cross_entropy, pixel_logits
from cnncli.train.masked import read_masked
from cnncli.train.masked_examples import padded
from cnncli.train.recipes.segment import SegmentRecipe
from tests.nn.networks import weights_of
from tests.nn.tiny_backbones import tiny_backbones  # noqa: F401
from tests.tasks.driving import finish
from tests.train.overfit import overfit

pytestmark = pytest.mark.usefixtures("tiny_backbones")
COLOURS = np.array([(30, 120, 40), (220, 60, 50), (60, 80, 230)], np.uint8)  # of grass, a square and a bar
NAMES = "background\nsquare\nbar\n"
SIZE = 96, 128


def scene(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A picture of grass with a square and a bar, and its mask; the outermost rows are left open."""
    random = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, np.uint8)
    top, left = random.integers(8, height // 3), random.integers(8, width // 3)
    mask[top : top + height // 3, left : left + height // 3] = 1
    mask[:, width - 40 + 4 * seed : width - 20 + 4 * seed] = 2
    pixels = np.clip(COLOURS[mask].astype(int) + random.integers(-20, 20, (*size, 3)), 0, 255).astype(np.uint8)
    mask[0] = 255
    return pixels, mask


def write_scenes(images: Path, masks: Path, count: int, first: int = 0, size: tuple[int, int] = SIZE) -> None:
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        pixels, mask = scene(seed, size)
        Image.fromarray(pixels).save(images / f"{seed}.png")
        save_mask(masks / f"{seed}.png", mask)


def save_mask(path: Path, numbers: np.ndarray) -> None:
    image = Image.fromarray(numbers)
    image.putpalette(list(palette()))
    image.save(path)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Five pictures with masks, and the names of their classes."""
    folder = tmp_path / "scenes"
    write_scenes(folder / "images", folder / "masks", 5)
    (folder / "classes.txt").write_text(NAMES)
    return folder


@pytest.fixture
def make(scenes: Path, tmp_path: Path) -> Callable[..., SegmentRecipe]:
    def make_recipe(**changes: Any) -> SegmentRecipe:
        return SegmentRecipe(config_of(scenes, tmp_path, **changes), lambda message: None)

    return make_recipe


def config_of(data: Path, out: Path, **changes: Any) -> TrainConfig:
    options = {"task": "segment", "data": str(data), "out": out / "run", "backbone": "tiny", "size": 128,
               "augment": "none", "pretrained": "none"}  # fmt: skip
    return TrainConfig(**{**options, **changes})


def read(data: Path, **changes: Any) -> Any:
    return read_masked(config_of(data, data.parent, **changes), lambda message: None)


def names(photos: Any) -> set[str]:
    return {Path(entry.photo).stem for entry in photos}


def test_holds_back_a_part(scenes: Path) -> None:
    found = read(scenes)
    assert found.classes == ("background", "square", "bar") and found.background == 0
    assert len(found.train) == 4 and len(found.val) == 1
    assert names(found.train) | names(found.val) == {"0", "1", "2", "3", "4"}
    assert all(entry.size == SIZE and Path(entry.mask).stem == Path(entry.photo).stem for entry in found.train)


@pytest.mark.parametrize("layout", ["named", "inside", "beside"])
def test_finds_validation_of_its_own(layout: str, scenes: Path, tmp_path: Path) -> None:
    data, options = scenes, {}
    if layout == "named":
        write_scenes(tmp_path / "other/images", tmp_path / "other/masks", 2, first=10)
        options = {"val": str(tmp_path / "other")}
    elif layout == "inside":
        write_scenes(scenes / "val/images", scenes / "val/masks", 2, first=10)
    else:
        data = tmp_path / "camvid"
        write_scenes(data / "train", data / "train_masks", 3)
        write_scenes(data / "val", data / "val_masks", 2, first=10)
    found = read(data, **options)
    assert names(found.val) == {"10", "11"} and not names(found.train) & {"10", "11"}
    assert found.classes[1] == ("class 1" if layout == "beside" else "square")
    assert found.background == (255 if layout == "beside" else 0)


def test_leaves_numbers_out_that_are_not_to_count(scenes: Path) -> None:
    (scenes / "classes.txt").write_text("grass\nsquare\n")
    with pytest.raises(UsageError, match=r"from 0 to 1, but the masks hold 2 too; .* --set ignore=2"):
        read(scenes)
    for value in (2, "2", "2,7"):
        found = read(scenes, options=(("ignore", value),))
        assert found.classes == ("grass", "square")
        assert found.table[2] == 255 and found.table[[0, 1, 255]].tolist() == [0, 1, 255]
    with pytest.raises(UsageError, match="give numbers from 0 to 255"):
        read(scenes, options=(("ignore", "void"),))


def test_says_what_is_wrong_with_data(scenes: Path, tmp_path: Path) -> None:
    def refused(words: str, **changes: Any) -> None:
        with pytest.raises(UsageError, match=words) as caught:
            read(scenes, **changes)
        assert "expected one of" in str(caught.value) or "two or more" in str(caught.value)

    refused("has no photos with masks", val=str(tmp_path))
    save_mask(scenes / "masks/3.png", np.zeros((4, 5), np.uint8))
    refused("1 of 5 masks don't fit .*3.png is 5 x 4, not 128 x 96")
    notes: list[str] = []
    assert len(read_masked(config_of(scenes, tmp_path, skip_bad=True), notes.append).train) == 3
    assert "3.png is 5 x 4" in notes[0] and "left out" in notes[0]
    (scenes / "masks/3.png").write_bytes(b"no picture")
    refused("1 of 5 masks don't fit .*3.png")
    (scenes / "masks/3.png").unlink()
    refused("lacks the masks of 1 of 5 photos .*3.png")
    for seed in range(5):
        save_mask(scenes / f"masks/{seed}.png", np.full(SIZE, 255 if seed else 1, np.uint8))
    refused("hold class 1 alone; .*store 1 in place of white")
    for file in (scenes / "images").iterdir():
        file.unlink()
    refused("holds no photos")
    (scenes / "images").rmdir()
    refused("has no photos with masks")


def test_rejects_a_photo_in_both_parts(scenes: Path) -> None:
    write_scenes(scenes / "val/images", scenes / "val/masks", 1, first=2)
    with pytest.raises(UsageError, match="in both training and validation"):
        read(scenes)


def test_loss_is_torchs_over_labelled_pixels() -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 3, 5, 7), torch.randint(0, 3, (2, 5, 7), dtype=torch.uint8)
    masks[0, :3] = 255
    for smoothing in (0.0, 0.1):
        expected = F.cross_entropy(logits, masks.long(), ignore_index=255, label_smoothing=smoothing)
        torch.testing.assert_close(pixel_cross_entropy(logits, masks, smoothing), expected)
    assert pixel_cross_entropy(logits, torch.full_like(masks, 255)) == 0
    torch.testing.assert_close(
        pixel_logits(logits, (9, 4)), F.interpolate(logits, size=(9, 4), mode="bilinear", align_corners=False)
    )


class Says(torch.nn.Module):
    """A network that answers class 1 where the picture's red is over 100, at stride 1."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        bright = (images[..., 0] > 100).float()
        return (torch.stack([1 - bright, bright, torch.zeros_like(bright)], dim=1) * 10,)


def test_meter_counts_as_eval_does(tmp_path: Path) -> None:
    """Pictures of several sizes in one batch, against `cnncli eval segment`'s own counting of the same answers."""
    meter, samples = MaskMeter(3), []
    counted = []
    for seed, size in enumerate([(64, 96), (96, 64), (64, 96)]):
        pixels, mask = scene(seed, size)
        samples.append({"images": torch.from_numpy(pixels), "masks": torch.from_numpy(mask)})
        save_mask(tmp_path / f"{seed}.png", mask)
        counted.append((Pair(str(seed), str(tmp_path / f"{seed}.png")), (pixels[..., 0] > 100).astype(np.uint8)))
    meter.update(Says(), padded(samples[:2]))
    meter.update(Says(), padded(samples[2:]))
    agreement = Agreement([pair for pair, _ in counted], ("background", "square", "bar"))
    for pair, answer in counted:
        item = Item(0, Input(pair.photo, ""), lambda answer=answer: Photo(answer))
        agreement.write(item, Photo(answer), type("Answer", (), {"pixels": answer}))
    expected, figures = agreement.figures(), meter.compute()
    assert figures["mIoU"] == pytest.approx(expected["mIoU"], abs=0.01) and 10 < figures["mIoU"] < 90
    assert figures["pixel_accuracy"] == pytest.approx(expected["pixel_accuracy"], abs=0.01)
    scores = [Says()(sample["images"][None])[0] for sample in samples]
    total = [
        F.cross_entropy(score, sample["masks"][None].long(), ignore_index=255, reduction="sum")
        for score, sample in zip(scores, samples, strict=True)
    ]
    labelled = sum(int((sample["masks"] != 255).sum()) for sample in samples)
    assert figures["loss"] == pytest.approx(float(sum(total)) / labelled, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("unet", {"channels": 16}), ("fcn32", {"channels": 64}), ("fcn16", {"channels": 64}),
        ("fcn8", {"channels": 64}), ("deeplabv3", {"channels": 32}), ("segnet", {}), ("deconvnet", {"channels": 64}),
    ],
)  # fmt: skip
def test_learns_a_few_pictures_by_heart(kind: str, options: dict[str, Any], make: Callable[..., SegmentRecipe]) -> None:
    backbone = "tiny_vgg" if kind in ("segnet", "deconvnet") else "tiny"
    size = 64 if kind in ("segnet", "deconvnet") else 128
    recipe = make(backbone=backbone, head=kind, options=tuple(options.items()), dropout=0.0, size=size)
    losses = overfit(recipe, steps=100, lr=1e-2)
    coarse = {"fcn32": 0.5, "fcn16": 0.25, "deeplabv3": 0.25}  # borders between cells of 32 and 16 px can't be told
    assert losses[0] > 0.8 and losses[-1] < coarse.get(kind, 0.1)


def test_answers_photos_as_it_has_learned(make: Callable[..., SegmentRecipe]) -> None:
    """What is measured while training, the file's graph, and `segment` on a photo of another shape agree."""
    recipe = make(head="unet", options=(("channels", 16), ("finest", 4)))
    torch.manual_seed(0)
    network = recipe.network()
    overfit(recipe, steps=60, lr=1e-2, network=network)
    weights = weights_of(network.eval(), recipe.info)
    engine = OnnxEngine(weights, threads=1, parallel_calls=1)
    model = FromPixels(network, recipe.info.mean, recipe.info.std).eval()
    meter = recipe.meter()
    with torch.inference_mode():
        meter.update(model, recipe.collate([recipe.val.example(0)]))
        (shown,) = recipe.picture(model, [recipe.val.example(0)])
    assert meter.compute()["mIoU"] > 80
    assert shown.shape == (96, 3 * 128, 3) and shown.dtype == np.uint8
    pixels, mask = scene(1, (130, 110))
    task = Segmenter({"segment": recipe.info}, SegmentOptions())
    found, (request,) = finish(
        task.analyse(pixels), lambda request: {"logits": engine.run(request.array[None])["logits"][0]}
    )
    assert request.array.shape == (128, 96, 3)
    assert (found.pixels == mask)[1:].mean() > 0.9
    assert {segment.label for segment in found.segments} == {"square", "bar"}


def test_takes_photos_in_their_usual_shape(make: Callable[..., SegmentRecipe], scenes: Path) -> None:
    write_scenes(scenes / "images", scenes / "masks", 1, first=20, size=(128, 64))
    recipe = make(size=128)
    assert recipe.info.recipe["input"] == [96, 128] and recipe.info.recipe["long_side"] == 128
    batch = recipe.collate([recipe.train.example(index) for index in range(len(recipe.train))])
    assert batch["images"].shape == (5, 96, 128, 3) and batch["masks"].shape == (5, 96, 128)
    whole = [recipe.val.example(index) for index in range(len(recipe.val))]
    for sample, entry in zip(whole, recipe.val.photos, strict=True):
        assert sample["masks"].shape == entry.size
        assert sample["images"].shape[:2] == ((128, 64) if entry.size == (128, 64) else (96, 128))


def test_deconvnet_takes_one_size(make: Callable[..., SegmentRecipe]) -> None:
    recipe = make(head="deconvnet", backbone="tiny_vgg", options=(("channels", 8),))
    assert "sizes" not in recipe.info.recipe and recipe.info.head["cells"] == [3, 4]
    assert recipe.val.example(0)["images"].shape == (96, 128, 3)


@pytest.mark.parametrize("level", ["none", "light", "strong"])
def test_augments_photo_and_mask_alike(level: str, make: Callable[..., SegmentRecipe]) -> None:
    recipe = make(augment=level)
    for index in range(len(recipe.train)):
        torch.manual_seed(index)
        sample = recipe.train.example(index)
        pixels, mask = sample["images"].float(), sample["masks"]
        assert sample["images"].dtype == mask.dtype == torch.uint8 and pixels.shape == (96, 128, 3)
        assert set(mask.unique().tolist()) <= {0, 1, 2, 255}
        red, blue = pixels[mask == 1].mean(dim=0), pixels[mask == 2].mean(dim=0)
        if (mask == 1).any():
            assert red[0] > red[2]
        if (mask == 2).any():
            assert blue[2] > blue[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head": "linear"}, "--head linear: segment has the heads unet, fcn32"),
        ({"mixup": 0.2}, "--mixup"),
        ({"options": (("margin", 1),)}, "--set margin: segment with head unet has no such choice"),
        ({"head": "segnet", "backbone": "tiny_vgg", "options": (("channels", 8),)}, "--set channels"),
        ({"options": (("channels", 0),)}, "--set channels=0"),
        ({"options": (("finest", 3),)}, "--set finest=3"),
        ({"head": "segnet"}, "segnet mirrors the pools of a VGG"),
        ({"backbone": "alexnet", "size": 32}, "--size: the input would be 32 x 32 px, alexnet takes"),
    ],
)
def test_rejects_options_that_do_not_go(changes: Any, words: str, make: Callable[..., SegmentRecipe]) -> None:
    with pytest.raises(UsageError, match=words):
        make(**changes)
