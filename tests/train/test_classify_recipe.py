"""The classifier's recipe: its losses reach zero, its figures are those of scikit-learn's and torchvision's makers."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cnncli.errors import UsageError
from cnncli.imaging.geometry import resize_and_crop
from cnncli.nn.assemble import FromPixels
from cnncli.train.photos import read_photo
from cnncli.train.recipes.classify import ClassifyRecipe
from tests.train.overfit import overfit


def recipe_of(config) -> ClassifyRecipe:
    return ClassifyRecipe(config, lambda message: None)


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "lenet5"},
        {"backbone": "resnet18", "size": 32, "norm": "group"},
        {"backbone": "googlenet", "size": 64, "dropout": 0.0},
    ],
    ids=lambda options: options["backbone"],
)
def test_overfits(make_config, options: dict) -> None:
    losses = overfit(recipe_of(make_config(**options)), steps=60, lr=2e-3)
    assert losses[-1] < 0.05 < losses[0]


def test_auxiliary_losses_count(make_config) -> None:
    """GoogLeNet: the loss plus 0.3 times each of two (Szegedy et al. 2015, sec. 5)."""
    recipe = recipe_of(make_config(backbone="googlenet", size=64, dropout=0.0))
    torch.manual_seed(0)
    model = FromPixels(recipe.network(), recipe.info.mean, recipe.info.std).train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):  # the auxiliary heads', else each call has another loss
            layer.p = 0
    batch = recipe.collate([recipe.train.example(index) for index in range(8)])
    with torch.no_grad():
        losses = recipe.loss(model, batch)
        logits, _, first, second = model(batch["images"])
    assert losses["loss"] > 1.2 * losses["main_loss"] > 0
    parts = [F.cross_entropy(answer, batch["label"]) for answer in (logits, first, second)]
    assert float(parts[0] + 0.3 * (parts[1] + parts[2])) == pytest.approx(float(losses["loss"]), rel=1e-3)


def test_smoothing_and_mixup_leave_no_perfect_answer(make_config) -> None:
    """With a part s of the truth on K classes alike no loss is under the entropy of that distribution."""
    recipe = recipe_of(make_config(label_smoothing=0.3))
    least = -(0.8 * np.log(0.8) + 2 * 0.1 * np.log(0.1))  # of 0.7 + 0.1, 0.1 and 0.1
    assert overfit(recipe, steps=80, lr=3e-3)[-1] == pytest.approx(least, abs=0.03)
    assert overfit(recipe_of(make_config(mixup=1.0)), steps=60, lr=2e-3)[-1] > 0.05


def test_validation_sees_what_inference_sees(make_config) -> None:
    recipe = recipe_of(make_config(backbone="resnet18", size=24, augment="strong"))
    path = recipe.val.labelled.photos[0]
    expected, _ = resize_and_crop(read_photo(path, 10**6), 27, (24, 24), "bilinear")
    np.testing.assert_array_equal(recipe.val.example(0)["images"].numpy(), expected)


def test_augmentation_varies(make_config) -> None:
    for level, count in (("none", 1), ("light", 5), ("strong", 5)):
        examples = recipe_of(make_config(augment=level)).train
        images = [examples.example(0)["images"] for _ in range(5)]
        assert len({image.numpy().tobytes() for image in images}) == count
        assert all(image.shape == (28, 28, 3) and image.dtype == torch.uint8 for image in images)


def test_counts_what_is_right(make_config) -> None:
    """A model that always says the first class, of scores 3, 2 and 1: a third is right, by a known loss."""
    recipe = recipe_of(make_config())
    meter = recipe.meter()

    class Stubborn(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.tensor([[3.0, 2.0, 1.0]]).repeat(len(images), 1), images.float()

    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    for part in (labels[:4], labels[4:]):
        meter.update(Stubborn(), {"images": torch.zeros(len(part), 28, 28, 3), "label": part})
    figures = meter.compute()
    assert figures["top1"] == pytest.approx(100 * 3 / 7)
    assert figures["top5"] == 100
    scores = torch.tensor([3.0, 2.0, 1.0]).log_softmax(dim=0)
    assert figures["loss"] == pytest.approx(float(-scores[labels].mean()), rel=1e-5)


def test_pictures_tell_the_truth(make_config) -> None:
    recipe = recipe_of(make_config())
    model = FromPixels(recipe.network(), recipe.info.mean, recipe.info.std).eval()
    samples = [recipe.val.example(index) for index in range(3)]
    with torch.inference_mode():
        pictures = recipe.picture(model, samples)
    assert len(pictures) == 3
    assert all(picture.dtype == np.uint8 and picture.shape[1] >= 224 for picture in pictures)


def test_rejects_other_heads(make_config) -> None:
    with pytest.raises(UsageError, match="--head grid: classify has the head linear alone"):
        recipe_of(make_config(head="grid"))
