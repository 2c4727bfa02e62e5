"""Runs as a whole: they learn, keep their best, and go on exactly where they stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.catalog import TASKS
from cnncli.errors import OutputError, UsageError
from cnncli.io.weights import load_weights, read_info
from cnncli.tasks.classify import ClassifyOptions
from cnncli.train.errors import TrainingError
from cnncli.train.loop import Trainer
from cnncli.train.run import TrainingRun


def begin(config) -> TrainingRun:
    return TrainingRun(config, lambda message: None, lambda done, total: None)


def train(config) -> dict:
    run = begin(config)
    list(run.epochs())
    return run.finish()


def lines(folder: Path) -> list[dict]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if "second" not in key} for entry in entries]


def test_learns_colours(make_config, tmp_path: Path) -> None:
    result = train(make_config(epochs=6, augment="light"))
    assert result["top1"] == 100
    assert result["graph_difference"] < 1e-4
    info = read_info(tmp_path / "run" / "best.safetensors")
    assert (info.task, info.classes) == ("classify", ("blue", "green", "red"))
    assert info.measured["top1"] == 100
    assert load_weights(tmp_path / "run" / "best.safetensors").graph is not None


def test_leaves_pictures(make_config, tmp_path: Path) -> None:
    train(make_config(epochs=1))
    for name in ("curves.png", "examples.png"):
        with Image.open(tmp_path / "run" / name) as picture:
            assert picture.mode == "RGB"
            assert np.asarray(picture).std() > 5


@pytest.mark.parametrize("epochs_before", [0, 1, 2])
@pytest.mark.parametrize(
    "options", [{}, {"ema": 0.9, "optimizer": "sgd", "dropout": 0.2}, {"freeze": "1", "unfreeze_at": 2, "mixup": 0.2}]
)
def test_goes_on_to_the_same_weights(make_config, tmp_path: Path, options: dict, epochs_before: int) -> None:
    options = {"epochs": 3, "augment": "strong", **options}
    train(make_config(out=tmp_path / "whole", **options))
    epochs = begin(make_config(out=tmp_path / "parts", **options)).epochs()
    for _ in range(epochs_before):
        next(epochs)
    train(make_config(out=tmp_path / "parts", resume=True, **options))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    states = [torch.load(tmp_path / name / "resume.pt", weights_only=True) for name in ("whole", "parts")]
    for key in ("network", "mean"):
        if states[0][key] is not None:
            for name, value in states[0][key].items():
                assert torch.equal(value, states[1][key][name]), name
    for name in ("best", "last"):
        whole, parts = (load_weights(tmp_path / part / f"{name}.safetensors") for part in ("whole", "parts"))
        for tensor, value in whole.tensors.items():
            np.testing.assert_array_equal(value, parts.tensors[tensor])


def test_a_finished_run_can_be_finished_again(make_config) -> None:
    assert train(make_config()) == train(make_config(resume=True))


def test_refuses_to_go_on_with_other_options(make_config) -> None:
    train(make_config())
    with pytest.raises(UsageError, match="begun with other values of --lr"):
        begin(make_config(resume=True, lr=0.5))
    with pytest.raises(UsageError, match="holds a run already; go on with it by --resume"):
        begin(make_config())
    assert train(make_config(overwrite=True))["epochs"] == 2


def test_refuses_to_go_on_with_nothing(make_config) -> None:
    with pytest.raises(UsageError, match="there is no run in"):
        begin(make_config(resume=True))


def test_says_when_the_loss_is_no_number(make_config, tmp_path: Path) -> None:
    run = begin(make_config(lr=1e30, warmup=0.0, optimizer="sgd"))
    with pytest.raises(TrainingError, match=r"the loss is no longer a number \((after epoch \d|epoch \d, step \d)"):
        list(run.epochs())


def test_stops_when_nothing_gets_better(make_config) -> None:
    result = train(make_config(epochs=30, lr=1e-9, patience=2))
    assert result["epochs"] == result["best_epoch"] + 2


def test_a_full_disk_is_told_and_survived(make_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = begin(make_config(epochs=3)).epochs()
    next(epochs)

    def full(*arguments) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("cnncli.train.folder.torch.save", full)
        with pytest.raises(OutputError, match=r"resume\.pt: can't be written \(No space left on device\); go on"):
            next(epochs)
    assert not list((tmp_path / "run").glob("*.tmp"))
    assert train(make_config(epochs=3, resume=True))["epochs"] == 3
    assert [entry["epoch"] for entry in lines(tmp_path / "run")] == [1, 2, 3]


def test_gradients_of_parts_add_up(make_config, tmp_path: Path) -> None:
    """Two batches of 4 in a step are one of 8 (LeNet has no batch norm)."""
    train(make_config(out=tmp_path / "whole", epochs=1, batch_size=8, optimizer="sgd", dropout=0.0))
    train(
        make_config(
            out=tmp_path / "parts", epochs=1, batch_size=4, accumulate=2, optimizer="sgd", warmup=0.0, dropout=0.0
        )
    )
    states = [torch.load(tmp_path / name / "resume.pt", weights_only=True)["network"] for name in ("whole", "parts")]
    assert states[0].keys() == states[1].keys()


def test_the_mean_is_what_is_kept(make_config) -> None:
    """Of a network that has not moved, the mean is the network; of one that has, it lies behind."""
    run = begin(make_config(ema=0.99, lr=0.05, epochs=1))
    list(run.epochs())
    trained, kept = run.trainer.raw.state_dict(), run.trainer.evaluated.state_dict()
    assert any(not torch.allclose(trained[name], kept[name]) for name in trained)


def test_too_large_batches_are_cut(make_config, monkeypatch: pytest.MonkeyPatch) -> None:
    """An accelerator that holds 3 examples takes 24 in batches of 3: its own error is what tells."""
    run = begin(make_config(epochs=1))
    inner = run.recipe.loss

    def scarce(model, batch):
        if len(batch["label"]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(model, batch)

    monkeypatch.setattr(run.recipe, "loss", scarce)
    before = {name: value.clone() for name, value in run.trainer.raw.state_dict().items()}
    assert [size for size in (24, 12, 6, 3) if run.trainer._fits(size)] == [3]
    for name, value in run.trainer.raw.state_dict().items():
        assert torch.equal(value, before[name])


def test_trained_weights_answer_like_the_validation(make_config, tmp_path: Path) -> None:
    """The task's own pipeline, over the validation photos, gives the accuracy that training has measured."""
    from cnncli.engine.onnx_engine import OnnxEngine
    from cnncli.tasks.classify import Classify
    from cnncli.train.photos import read_photo

    assert "classify" in TASKS
    run = begin(make_config(epochs=2, augment="light"))
    list(run.epochs())
    result = run.finish()
    weights = load_weights(tmp_path / "run" / "best.safetensors")
    task, engine = Classify({"classify": weights.info}, ClassifyOptions(top_k=1)), OnnxEngine(weights, 1, 1)
    held = run.recipe.val.labelled
    right = 0
    for path, label in zip(held.photos, held.labels, strict=True):
        outputs = engine.run(task.prepare(read_photo(path, 10**6))[None])
        answer = task.interpret({name: value[0] for name, value in outputs.items()})
        right += answer.classes[0].index == label
    assert 100 * right / len(held.labels) == pytest.approx(result["top1"])
    assert isinstance(run.trainer, Trainer)


def test_refuses_to_go_on_with_other_data(make_config, classes_folder: Path) -> None:
    """The same number of photos under another name would give the answers other names."""
    epochs = begin(make_config(epochs=3)).epochs()
    next(epochs)
    (classes_folder / "red").rename(classes_folder / "apple")
    with pytest.raises(UsageError, match=r"has changed: it had 3 classes, 24 \+ 6 examples"):
        begin(make_config(epochs=3, resume=True))
