"""A whole training run: recipe, network, epochs, and the files that they leave."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from cnncli.catalog import BACKBONES, RECIPES, resolve
from cnncli.engine.base import is_lack_of_memory
from cnncli.errors import DeviceError, UsageError, WeightsError
from cnncli.io.pictures import Picture, encode
from cnncli.io.weights import ModelInfo, load_weights, save_weights
from cnncli.nn.assemble import FromPixels
from cnncli.nn.checkpoint import graph_of, load_model, tensors_of
from cnncli.train.batches import VALIDATION, Seeded
from cnncli.train.config import FROM_HERE, TrainConfig
from cnncli.train.devices import is_first_process, open_fabric
from cnncli.train.folder import BEST, CURVES, EXAMPLES, LAST, RunFolder
from cnncli.train.loop import EpochReport, Progress, Trainer
from cnncli.train.parity import check_parity
from cnncli.train.pictures import draw_curves, grid
from cnncli.train.pretrained import find_pretrained, pixels_of, start_from
from cnncli.train.recipe import Notify, Recipe

SHOWN = 9  # validation examples in the picture of each epoch


class TrainingRun:
    """One run, from its options to its files. `epochs()` trains; `finish()` then makes the best weights whole."""

    def __init__(self, config: TrainConfig, notify: Notify, progress: Progress):
        self.config = config
        self.notify = notify if is_first_process() else lambda message: None
        self.folder = RunFolder(config)
        state = self.folder.open()
        self.fabric = open_fabric(config)
        self.recipe = self._recipe()
        self.trainer = Trainer(self.recipe, self._network(state is None), self.fabric, self.notify, progress)
        if state is not None:
            self._check_data(state)
            self.trainer.restore(state)
        elif is_first_process():
            self.folder.begin()
        self._board = self._open_board()

    @property
    def description(self) -> str:
        """What is trained on what, in one line."""
        recipe, info = self.recipe, self.recipe.info
        learned = sum(p.numel() for p in self.trainer.raw.parameters() if p.requires_grad)
        device = str(self.fabric.device)
        processes = f", {self.fabric.world_size} processes" if self.fabric.world_size > 1 else ""
        head = f" with head {info.head['kind']}" if "kind" in info.head else ""
        return (
            f"{recipe.task}: {info.backbone}{head}, {learned:,} parameters to learn, {len(recipe.train):,} examples to "
            f"train on and {len(recipe.val):,} to validate, on {device}{processes}"
        )

    def epochs(self) -> Iterator[EpochReport]:
        try:
            for report in self.trainer.epochs():
                if is_first_process():
                    self._keep(report)
                self.fabric.barrier()
                yield report
        except Exception as error:
            if is_lack_of_memory(error):
                size = self.trainer.batch_size
                raise DeviceError(
                    f"{self.fabric.device}: out of memory with {size} examples; choose a smaller --batch-size (and "
                    "--accumulate), --size or --backbone, then go on with --overwrite"
                ) from error
            if self.config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                reason = str(error).partition("\n")[0]
                raise UsageError(f"--compile: this network can't be compiled here ({reason}); leave it out") from error
            raise

    def finish(self) -> dict[str, Any]:
        """Write the best network with its graph, proven against torch; where it is and how good it was."""
        standing = self.trainer.standing
        if not is_first_process():
            return {}
        path = self.folder.path / BEST
        weights = load_weights(path)
        info = replace(self.recipe.finish(standing.best_figures), measured=weights.info.measured)
        network = load_model(weights).model
        graph, difference = self._graph(network, info)
        save_weights(path, info, weights.tensors, graph)
        if self._board is not None:
            self._board.close()
        return {
            "weights": str(path), "task": self.config.task, "epochs": standing.epoch,
            "best_epoch": standing.best_epoch, "graph_difference": difference,
            **{name.removeprefix("val_"): value for name, value in standing.best_figures.items() if name[:4] == "val_"},
        }  # fmt: skip

    def _recipe(self) -> Recipe:
        if self.config.task not in RECIPES:
            raise UsageError(f"{self.config.task}: is not a task to train; choose {', '.join(RECIPES)}")
        recipe: Recipe = resolve(RECIPES[self.config.task])(self.config, self.notify)
        backbone = recipe.info.backbone
        recipe.pretrained = find_pretrained(self.config.pretrained, backbone if backbone in BACKBONES else None)
        if recipe.pretrained is not None:
            mean, std = pixels_of(recipe.pretrained, backbone)
            recipe.info = replace(recipe.info, mean=mean, std=std)
        return recipe

    def _network(self, fresh: bool) -> nn.Module:
        torch.manual_seed(self.config.seed)
        network = self.recipe.network()
        least = getattr(getattr(network, "backbone", None), "least_size", 1)
        if min(side := self.recipe.info.recipe["input"]) < least:
            raise UsageError(f"--size {min(side)}: {self.recipe.info.backbone} takes {least} px at least")
        if fresh and self.recipe.pretrained is not None:
            found, count = start_from(network, self.recipe.pretrained)
            self.notify(f"starting from {self.recipe.pretrained}: {found} of {count} tensors")
        elif fresh and self.config.pretrained == FROM_HERE:
            self.notify(f"starting from random numbers: there are no weights for {self.recipe.info.backbone} here")
        return network

    def _data(self) -> dict[str, Any]:
        """What a run must find again to go on: classes in their order, and how many examples."""
        recipe = self.recipe
        return {"classes": list(recipe.info.classes), "train": len(recipe.train), "val": len(recipe.val)}

    def _check_data(self, state: dict[str, Any]) -> None:
        if state["data"] != self._data():
            earlier = state["data"]
            had = f"{len(earlier['classes'])} classes, {earlier['train']} + {earlier['val']} examples"
            raise UsageError(
                f"--resume: {self.config.data} has changed: it had {had}; restore it, or begin again with --overwrite"
            )

    def _keep(self, report: EpochReport) -> None:
        """Weights, figures and pictures of an epoch, and last of all the state to go on from."""
        info = self._measured(report)
        tensors = tensors_of(self.trainer.network)
        save_weights(self.folder.path / LAST, info, tensors, None)
        if report.is_best:
            save_weights(self.folder.path / BEST, info, tensors, None)
        self.folder.write_figures({"epoch": report.epoch, **report.figures, "seconds": round(report.seconds, 3),
                                   "images_per_second": round(report.images_per_second, 2)})  # fmt: skip
        self.folder.write(CURVES, encode(Picture(draw_curves(self.folder.figures, self.recipe.best)), ".png"))
        self.folder.write(EXAMPLES, encode(Picture(self._examples()), ".png"))
        if self._board is not None:
            for name, value in report.figures.items():
                self._board.add_scalar(name, value, report.epoch)
            self._board.flush()
        self.folder.write_state({**self.trainer.state(), "data": self._data()})

    def _measured(self, report: EpochReport) -> ModelInfo:
        name = self.recipe.best[0]
        measured = {"epoch": report.epoch, name: round(report.figures[f"val_{name}"], 4)}
        return replace(self.recipe.finish(report.figures), measured=measured)

    def _examples(self) -> np.ndarray:
        recipe = self.recipe
        examples = Seeded(recipe.val, self.config.seed)
        places = np.linspace(0, len(recipe.val) - 1, min(SHOWN, len(recipe.val))).astype(int)
        samples = [examples[VALIDATION, int(place)] for place in dict.fromkeys(places.tolist())]
        model = copy.deepcopy(self.trainer.evaluated).cpu().eval()
        with torch.inference_mode():
            return grid(recipe.picture(model, samples))

    def _graph(self, network: nn.Module, info: ModelInfo) -> tuple[bytes | None, float | None]:
        try:
            graph = graph_of(network, info)
        except WeightsError as error:
            self.notify(f"{error}; the weights run with --engine torch")
            return None, None
        return graph, check_parity(FromPixels(network, info.mean, info.std).eval(), info, graph, tensors_of(network))

    def _open_board(self) -> Any:
        if not self.config.tensorboard or not is_first_process():
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError("--tensorboard needs TensorBoard: pip install 'cnncli[tensorboard]'") from error
        return SummaryWriter(str(self.folder.path / "tensorboard"), purge_step=self.trainer.standing.epoch + 1)
