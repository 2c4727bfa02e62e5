"""Training of face embedders: people and their photos, batches, pairs and thresholds, and use by the command."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.engine.onnx_engine import OnnxEngine
from cnncli.engine.torch_engine import TorchEngine
from cnncli.errors import UsageError
from cnncli.imaging.faces import DISTANCES, align
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights, read_info
from cnncli.nn.assemble import FromPixels, build
from cnncli.tasks.base import Request
from cnncli.tasks.verify_face import EMBED, FaceFinder, FaceOptions
from cnncli.train.config import TrainConfig
from cnncli.train.face_crops import face_crops, template_of
from cnncli.train.face_pairs import FaceMeter, area_under, best_threshold, choose_pairs
from cnncli.train.people import batches_of_people
from cnncli.train.recipes.verify_face import VerifyFaceRecipe
from cnncli.train.run import TrainingRun
from tests.nn.face_pictures import astronaut
from tests.tasks.driving import finish
from tests.train.overfit import overfit

HEADS = ("triplet", "siamese", "cosine")
COLOURS = {
    "anna": (220, 60, 50), "ben": (50, 200, 60), "cleo": (60, 70, 220), "dan": (210, 200, 40), "eva": (40, 190, 200),
    "finn": (200, 60, 190),
}  # fmt: skip


def write_people(folder: Path, names: tuple[str, ...] = tuple(COLOURS), photos: int = 4) -> Path:
    """Squares of grain, each person's in a colour of its own."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(photos):
            grain = np.random.default_rng(100 * number + index).integers(-30, 30, (40, 40, 3))
            pixels = np.clip(grain + COLOURS[name], 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write_people(tmp_path / "people")


@pytest.fixture
def make(tmp_path: Path, people: Path) -> Callable[..., VerifyFaceRecipe]:
    def make(head: str = "triplet", options: dict | None = None, data: Path = people, **changes) -> VerifyFaceRecipe:
        return VerifyFaceRecipe(config_of(data, tmp_path / "run", head, options, **changes), lambda message: None)

    return make


def config_of(data: Path, out: Path, head: str, options: dict | None = None, **changes) -> TrainConfig:
    known = {"align": "none", "dim": 8, **(options or {})}
    given = {
        "task": "verify-face", "data": str(data), "out": out, "head": head, "device": "cpu", "workers": 0, "size": 32,
        "backbone": "lenet5", "pretrained": "none", "augment": "none", "val": 0.34, "options": tuple(known.items()),
    }  # fmt: skip
    return TrainConfig(**{**given, **changes})


@pytest.mark.parametrize("head", HEADS)
def test_learns_a_few_people(make, head: str) -> None:
    """Triplets with a margin of a right angle: by their colours alone they are farther apart than the usual one."""
    recipe = make(head, {"margin": 2.0} if head == "triplet" else {})
    losses = overfit(recipe, 300, 0.01 if head != "siamese" else 0.03)
    assert losses[0] > 0.1
    assert losses[-1] < 0.025


@pytest.mark.parametrize("head", HEADS)
def test_answers_an_embedding_alone_outside_of_training(make, head: str) -> None:
    recipe = make(head)
    model = FromPixels(recipe.network(), recipe.info.mean, recipe.info.std)
    images = torch.stack([recipe.train.example(index)["images"] for index in range(3)])
    (embeddings,) = model.eval()(images)
    assert embeddings.shape == (3, 8)
    if head == "siamese":
        assert (embeddings >= 0).all()
    else:
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))
    assert len(model.train()(images)) == (1 if head == "triplet" else 2)


def test_siamese_embeddings_hold_the_weights_of_the_comparison(make) -> None:
    """The paper's sum of weighted differences is the Manhattan distance of the embeddings."""
    network = build(make("siamese").info).eval()
    with torch.no_grad():
        network.importance.uniform_(-3, 3)
        x = torch.rand(2, 3, 32, 32)
        first, second = network(x)[0].numpy().astype(np.float64)
        values = network.project(x).sigmoid()
        weighted = (network.importance.exp() + 1).log() * (values[0] - values[1]).abs()
    assert DISTANCES["manhattan"](first, second) == pytest.approx(float(weighted.sum()), rel=1e-3)


def test_divides_by_person(make) -> None:
    recipe = make(val=0.34)
    assert len(recipe.train.names) == 4 and len(recipe.val.names) == 2
    assert not set(recipe.train.names) & set(recipe.val.names)
    assert sorted(recipe.train.names + recipe.val.names) == sorted(COLOURS)
    assert len(recipe.train) == 16 and len(recipe.val) == 8
    assert make(val=0.01).val.names == make(val=0.34).val.names  # never fewer than two


def test_takes_a_folder_of_other_people(make, tmp_path: Path) -> None:
    train = write_people(tmp_path / "both" / "train", ("anna", "ben"))
    write_people(tmp_path / "both" / "val", ("cleo", "dan"))
    for recipe in (make(data=tmp_path / "both"), make(data=train, val=str(tmp_path / "both" / "val"))):
        assert (recipe.train.names, recipe.val.names) == (("anna", "ben"), ("cleo", "dan"))
    with pytest.raises(UsageError, match=r"are in both training and validation"):
        make(data=train, val=str(train))


def test_batches_hold_several_photos_of_several_people() -> None:
    counts = [3, 9, 4, 20, 5, 7]
    people = [person for person, count in enumerate(counts) for _ in range(count)]
    seen = []
    for epoch in range(20):
        order = batches_of_people(people, 12, 4, seed=epoch)
        assert len(order) == len(people)
        for first in range(0, len(order) - 11, 12):
            batch = order[first : first + 12]
            chosen = [people[index] for index in batch]
            assert sorted(chosen.count(person) for person in set(chosen)) == [4, 4, 4]
            for person in set(chosen):
                own = {index for index in batch if people[index] == person}
                assert len(own) == min(4, counts[person])
        seen += order
    assert set(seen) == set(range(len(people)))
    assert order == batches_of_people(people, 12, 4, seed=19)


def test_fewer_people_than_fit_share_a_batch() -> None:
    people = [0] * 10 + [1] * 10
    batch = batches_of_people(people, 16, 4, seed=0)[:16]
    assert sum(people[index] for index in batch) == 8


def test_chooses_every_pair_of_a_few_photos() -> None:
    people = np.array([0, 1, 0, 1, 2])
    pairs = choose_pairs(people, 100)
    found = {(*sorted((int(a), int(b))), bool(same)) for a, b, same in zip(pairs.first, pairs.second, pairs.same)}  # noqa: B905
    assert found == {(a, b, bool(people[a] == people[b])) for a in range(5) for b in range(a + 1, 5)}


@pytest.mark.parametrize("count", [60, 1500])
def test_chooses_as_many_of_each_kind_of_many(count: int) -> None:
    pairs = choose_pairs(np.arange(count) // 10, 200)
    assert pairs.same.sum() == (~pairs.same).sum() == 200
    assert (pairs.first != pairs.second).all()
    assert (pairs.same == (pairs.first // 10 == pairs.second // 10)).all()
    again = choose_pairs(np.arange(count) // 10, 200)
    np.testing.assert_array_equal(pairs.first, again.first)


def test_finds_the_threshold_by_hand() -> None:
    """Accepting the nearest three takes 3 of 4 of one person and 0 of 2 others: (3/4 + 1) / 2."""
    distances = np.array([0.1, 0.2, 0.4, 0.8, 0.6, 0.9])
    same = np.array([True, True, True, True, False, False])
    threshold, accuracy = best_threshold(distances, same)
    assert (threshold, accuracy) == (pytest.approx(0.5), 0.875)
    assert area_under(distances, same) == pytest.approx(7 / 8)  # of the 8 pairs of pairs one is the wrong way round


def test_equal_distances_are_not_divided() -> None:
    threshold, accuracy = best_threshold(np.array([0.3, 0.3, 0.3, 0.7]), np.array([True, False, True, False]))
    assert (threshold, accuracy) == (pytest.approx(0.5), 0.75)


@pytest.mark.parametrize(("metric", "views"), [("cosine", 2), ("manhattan", 1)])
def test_measures_embeddings_as_the_command_makes_them(metric: str, views: int) -> None:
    """In whatever order they come; the cosine's are the mean with those of the mirror images."""
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8))

    class Columns(torch.nn.Module):
        calls = 0

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
            self.calls += 1
            return (images.float().mean(dim=1).flatten(1) / 255,)

    model, meter, people = Columns(), FaceMeter(metric), torch.tensor([0, 0, 1, 1, 2, 2])
    for places in ([5, 1], [0, 3], [4, 2]):
        meter.update(model, {"images": images[places], "person": people[places], "index": torch.tensor(places)})
    assert model.calls == 3 * views
    figures = meter.compute()
    columns = images.double().mean(dim=1) / 255
    if metric == "cosine":
        columns = (columns + columns.flip(1)) / 2
    vectors = columns.flatten(1).numpy()
    pairs = [(a, b) for a in range(6) for b in range(a + 1, 6)]
    distances = np.array([DISTANCES[metric](vectors[a], vectors[b]) for a, b in pairs])
    same = np.array([a // 2 == b // 2 for a, b in pairs])
    ranks = [(near < far) + 0.5 * (near == far) for near in distances[same] for far in distances[~same]]
    assert figures["auc"] == pytest.approx(np.mean(ranks))
    accepted = distances <= figures["threshold"]
    assert figures["accuracy"] == pytest.approx(50 * (accepted[same].mean() + (~accepted)[~same].mean()))


@pytest.mark.parametrize("head", HEADS)
def test_the_file_runs_in_the_command_with_both_engines(tmp_path: Path, people: Path, head: str) -> None:
    run = TrainingRun(config_of(people, tmp_path / "run", head, epochs=2), lambda message: None, lambda *_: None)
    reports = list(run.epochs())
    result = run.finish()
    assert result["graph_difference"] < 1e-3
    weights = load_weights(tmp_path / "run" / "best.safetensors")
    assert weights.info.recipe["threshold"] == round(reports[result["best_epoch"] - 1].figures["val_threshold"], 4)
    assert (tmp_path / "run" / "examples.png").is_file()
    finder = load_weights(model_path("yunet"))
    task = FaceFinder({"embed-face": weights.info, "find-face": finder.info}, FaceOptions(mode=EMBED))
    find = OnnxEngine(finder, threads=1, parallel_calls=1)
    embeddings = []
    for embed in (OnnxEngine(weights, threads=1, parallel_calls=1), TorchEngine(weights, "cpu", "fp32", threads=1)):

        def answer(request: Request, embed=embed) -> dict[str, np.ndarray]:
            engine = find if request.model == "find-face" else embed
            return {name: rows[0] for name, rows in engine.run(request.array[None]).items()}

        embeddings.append(finish(task.analyse(astronaut()), answer)[0].chosen[0].embedding)
    np.testing.assert_allclose(embeddings[0], embeddings[1], atol=1e-4)
    match = task.judge.distances(
        finish(task.analyse(astronaut()), answer)[0].chosen[0], np.stack([embeddings[1], embeddings[1]])
    )
    assert (match < 1e-6).all()


def test_finds_and_aligns_the_face_of_a_photo(tmp_path: Path) -> None:
    """As OpenCV's warp of the points that the command's own search gives; a photo without a face is left out."""
    Image.fromarray(astronaut()).save(tmp_path / "a.png")
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(tmp_path / "b.png")
    messages: list[str] = []
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    found = face_crops(paths, 56, "faces", 10**7, messages.append)
    assert list(found) == paths[:1] and found[paths[0]].shape == (56, 56, 3)
    assert (
        len(messages) == 1 and "1 of 2 photos are left out, no face is found" in messages[0] and "b.png" in messages[0]
    )
    # where OpenCV's FaceDetectorYN sees the points, see tests/tasks/test_verify_face.py
    points = [[202.984, 102.778], [245.171, 105.528], [220.727, 127.221], [200.594, 139.297], [241.986, 141.246]]
    template = np.array(read_info(model_path("sface")).recipe["template"]) / 2
    np.testing.assert_allclose(template_of(56), template, atol=1e-3)
    expected = align(astronaut(), np.array(points), template, (56, 56))
    assert np.abs(found[paths[0]].astype(int) - expected).mean() < 2
    with pytest.raises(UsageError, match=r"no face is found in any of the 1 photos; .* --set align=none"):
        face_crops(paths[1:], 56, "faces", 10**7, messages.append)


def test_shows_pairs_with_their_distance(make) -> None:
    recipe = make("siamese")
    info = recipe.finish({"val_threshold": 1.23456})
    assert info.recipe["threshold"] == 1.2346
    model = FromPixels(recipe.network(), info.mean, info.std).eval()
    with torch.inference_mode():
        pictures = recipe.picture(model, [recipe.val.example(index) for index in (0, 3, 5)])
    assert len(pictures) == 3
    assert all(picture.dtype == np.uint8 and picture.ndim == 3 and picture.std() > 5 for picture in pictures)


@pytest.mark.parametrize(
    ("head", "options", "changes", "words"),
    [
        ("pairs", {}, {}, r"--head pairs: choose triplet, siamese, cosine"),
        ("triplet", {"scale": 3}, {}, r"scale.*triplet has no such choice"),
        ("cosine", {"softmax": "sphere"}, {}, r"--set softmax=sphere: choose cosface, arcface, normface"),
        ("triplet", {"margin": -1}, {}, r"--set margin=-1: give 0 or more"),
        ("triplet", {"dim": 1.5}, {}, r"--set dim=1.5: give a whole number"),
        ("triplet", {"per_person": 1}, {}, r"--set per_person=1: give a whole number from 2"),
        ("triplet", {"align": "eyes"}, {}, r"--set align=eyes: choose faces"),
        ("siamese", {}, {"label_smoothing": 0.1}, r"--label-smoothing: verify-face with head siamese"),
    ],
)
def test_rejects_what_no_embedder_knows(make, head: str, options: dict, changes: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make(head, options, **changes)


def test_rejects_folders_without_enough_people(make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: holds no photos; give a folder for each person.*DATA/anna/1\.jpg"):
        make(data=tmp_path / "empty")
    with pytest.raises(UsageError, match=r"nowhere: is no folder"):
        make(data=tmp_path / "nowhere")
    one = write_people(tmp_path / "one", ("anna",))
    with pytest.raises(UsageError, match=r"people with two photos or more: 1, and at least 4 are needed"):
        make(data=one)
    with pytest.raises(UsageError, match=r"has no folders of people \(4 photos lie in it directly\)"):
        make(data=one / "anna")
    with pytest.raises(UsageError, match=r"nobody of 6 has two photos"):
        make(data=write_people(tmp_path / "alone", photos=1))


def test_people_with_one_photo_are_left_out(people: Path, tmp_path: Path) -> None:
    for index in (1, 2, 3):
        (people / "dan" / f"{index}.png").unlink()
    messages: list[str] = []
    recipe = VerifyFaceRecipe(config_of(people, tmp_path / "run", "triplet"), messages.append)
    assert "dan" not in recipe.train.names + recipe.val.names
    assert messages == ["1 of 6 people are left out, with one photo each: dan"]


@pytest.mark.parametrize("level", ["light", "strong"])
def test_augmentation_keeps_the_face_in_its_place(make, level: str) -> None:
    """Grain in one colour stays so, in the same size, brighter or darker; each time another one."""
    recipe = make(augment=level)
    torch.manual_seed(0)
    images = [recipe.train.example(0)["images"] for _ in range(4)]
    assert all(image.shape == (32, 32, 3) and image.dtype == torch.uint8 for image in images)
    assert not torch.equal(images[0], images[1])
    plain = make().train.example(0)["images"].float().mean(dim=(0, 1))
    for image in images:
        assert image.float().mean(dim=(0, 1)).argmax() == plain.argmax()
