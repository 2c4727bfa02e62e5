"""A network to look into: its layers by name or number, its answers, and the input as it sees it."""

import difflib
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnncli.errors import UsageError
from cnncli.explain.answers import Answer, Outputs, Target, answer_of
from cnncli.io.weights import Weights
from cnncli.nn.assemble import build
from cnncli.nn.checkpoint import load_model
from cnncli.nn.layer_table import LayerTable, layer_table
from cnncli.nn.tracing import Operation, trace

Size = tuple[int, int]  # rows, columns
BEFORE_HEADS = {"backbone", "neck"}  # what our networks call the parts that heads follow


class Subject:
    """A model of a weights file on a device, in float32, in evaluation mode, its parameters fixed.

    `network` takes normalised batches (N, C, H, W); gradients go to the input.
    """

    def __init__(self, weights: Weights, device: torch.device):
        self.info = weights.info
        self.weights = weights
        self.device = device
        self._model = load_model(weights).to(device).requires_grad_(False)
        self.network: nn.Module = self._model.model
        for module in self.network.modules():
            if hasattr(module, "inplace"):
                module.inplace = False  # or it would overwrite the map of the layer before, which may be looked at

    @functools.cached_property
    def answer(self) -> Answer:
        """UsageError where the network's answer has no number that could be explained."""
        return answer_of(self.info)

    def normalised(self, pixels: np.ndarray) -> Tensor:
        """From the input as a task makes it, (H, W, C), to what the network computes with, (1, C, H, W)."""
        images = torch.from_numpy(np.array(pixels))[None].to(self.device)
        return (images.permute(0, 3, 1, 2).float() - self._model.mean) / self._model.std

    def pixels(self, images: Tensor) -> np.ndarray:
        """The way back: normalised (1, C, H, W) to float32 (H, W, C), unclipped."""
        return (images * self._model.std + self._model.mean)[0].permute(1, 2, 0).detach().cpu().numpy()

    @property
    def limits(self) -> tuple[Tensor, Tensor]:
        """Black and white as the network sees them, (1, C, 1, 1)."""
        return (0 - self._model.mean) / self._model.std, (255 - self._model.mean) / self._model.std

    def outputs(self, images: Tensor) -> Outputs:
        """What the network answers to a normalised batch, by the names of the model's outputs."""
        return dict(zip(self.info.outputs, self.network(images), strict=True))

    def target(self, images: Tensor, wanted: str | None) -> Target:
        """The answer to explain: the class that the user `wanted`, or the network's own."""
        with torch.no_grad():
            return self.answer.choose(self.outputs(images), wanted)

    def evidence(self, images: Tensor, target: Target) -> Tensor:
        """What speaks for a target, (N,), differentiable."""
        return self.answer.evidence(self.outputs(images), target)

    def score(self, images: Tensor, target: Target) -> Tensor:
        """How sure the network is of a target, 0 to 1, (N,)."""
        return self.answer.score(self.outputs(images), target)

    # -- layers

    def without_numbers(self) -> nn.Module:
        """The network anew, to be traced."""
        with torch.device("meta"):
            return build(self.info)

    def operations(self, size: Size) -> list[Operation]:
        """All that the network computes for an input of `size`."""
        return _operations(self, size)

    def table(self, size: Size) -> LayerTable:
        """Its layers at an input of `size`, numbered as `cnncli models show` does."""
        return _table(self, size)

    def layer(self, named: str, size: Size) -> str:
        """The path of a layer: a number of the table, a path, or the end of one.

        UsageError where it is none, or several.
        """
        if named.isdigit():
            return self._numbered(int(named), size)
        paths = [path for path, _ in self.network.named_modules() if path]
        if named in paths:
            return named
        ends = [path for path in paths if path.endswith(f".{named}")]
        if len(ends) == 1:
            return ends[0]
        if ends:
            raise UsageError(f"--layer {named}: could be {', '.join(ends[:4])}; write more of it")
        near = difflib.get_close_matches(named, paths, 3, 0.4)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise UsageError(f"--layer {named}: {self.info.name} has none of that name{hint}; see 'cnncli models show'")

    def _numbered(self, number: int, size: Size) -> str:
        layers = self.table(size).layers
        if not 1 <= number <= len(layers):
            raise UsageError(
                f"--layer {number}: {self.info.name} has layers 1 to {len(layers)}; see 'cnncli models show'"
            )
        layer = layers[number - 1]
        if not layer.name:
            raise UsageError(f"--layer {number}: a step of {self.info.name} itself ({layer.kind}); choose another")
        return layer.name

    def last_map(self, images: Tensor, target: Target) -> str:
        """The last layer with places on which the evidence for a target hangs; of a detector at its object's size.

        UsageError where the answer is a matte, whose last map is the matte itself.
        """
        if self.info.task == "foreground":
            raise UsageError(f"{self.info.name} answers with a matte: name a layer with --layer, or use occlusion")
        paths = self._map_layers((images.shape[2], images.shape[3]))
        given: dict[str, Tensor] = {}
        handles = [self.network.get_submodule(path).register_forward_hook(_keeping(given, path)) for path in paths]
        try:
            evidence = self.evidence(images.detach().requires_grad_(True), target)
        finally:
            for handle in handles:
                handle.remove()
        slopes = torch.autograd.grad(evidence.sum(), [given[path] for path in paths], allow_unused=True)
        leading = [path for path, slope in zip(paths, slopes, strict=True) if slope is not None and slope.any()]
        return (leading or paths)[-1]

    def _map_layers(self, size: Size) -> list[str]:
        """Layers that run once and give maps of more than one cell, in their order; of heads only a classifier's."""
        operations = self.operations(size)
        steps = [path for path, _ in itertools.groupby(operations, lambda operation: operation.module)]
        maps = {op.module for op in operations if len(op.shape) == 4 and min(op.shape[2:]) > 1}
        leaves = {path for path, module in self.network.named_modules() if not list(module.children())}
        once = {path for path, runs in Counter(steps).items() if runs == 1} & maps & leaves
        parts = {name for name, _ in self.network.named_children()}
        seen = parts & BEFORE_HEADS if self.info.task != "classify" and parts & BEFORE_HEADS else parts
        return [path for path in steps if path in once and path.partition(".")[0] in seen]

    @contextmanager
    def watched(self, path: str) -> Iterator[list[Tensor]]:
        """What a layer gives (N, C, H, W) each time that it runs in the block."""
        given: list[Tensor] = []
        handle = self.network.get_submodule(path).register_forward_hook(lambda layer, taken, out: given.append(out))
        try:
            yield given
        finally:
            handle.remove()


def _keeping(given: dict[str, Tensor], path: str) -> Callable[..., None]:
    def keep(layer: nn.Module, taken: Any, out: Tensor) -> None:
        given[path] = out

    return keep


@functools.lru_cache(16)
def _operations(subject: Subject, size: Size) -> list[Operation]:
    return trace(subject.without_numbers(), (len(subject.info.mean), *size))


@functools.lru_cache(16)
def _table(subject: Subject, size: Size) -> LayerTable:
    return layer_table(subject.without_numbers(), (len(subject.info.mean), *size))
