"""torchvision's classification networks, wrapped to the contract of our own classifiers."""

from typing import Any

import torchvision
from torch import Tensor, nn

from cnncli.errors import WeightsError

PREFIX = "torchvision/"  # of a backbone's name in a weights file: "torchvision/resnet50"

# torchvision normalises twice for these when it loads its own weights, and so must whoever loads them
TRANSFORM_INPUT = ("googlenet", "inception_v3")


class TorchvisionClassifier(nn.Module):
    """Normalised RGB batch (N, 3, H, W) to logits (N, classes) and features (N, F), in training auxiliary logits too.

    Features are what enters the last linear layer; networks that end in a convolution (SqueezeNet) give
    the mean of their last feature map. State dict: `network.` and the names of torchvision. `options` are
    those of torchvision's builder (`image_size` of vision transformers).
    """

    def __init__(self, name: str, classes: int, **options: Any):
        super().__init__()
        if name in TRANSFORM_INPUT:
            options = {"transform_input": True, "init_weights": False, **options}
        try:
            self.network = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
        except ValueError as error:
            raise WeightsError(f"torchvision {torchvision.__version__} has no network '{name}'; update it") from error
        linear = [path for path, layer in self.network.named_modules() if isinstance(layer, nn.Linear)]
        self.last_layer = linear[-1] if linear else "classifier"

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        captured: list[Tensor] = []
        layer = self.network.get_submodule(self.last_layer)
        hook = layer.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
        try:
            answer = self.network(x)
        finally:
            hook.remove()
        logits, *auxiliary = answer if isinstance(answer, tuple) else (answer,)
        features = captured[0] if captured[0].ndim == 2 else captured[0].mean(dim=(2, 3))
        return logits, features, *(extra for extra in reversed(auxiliary) if extra is not None)
