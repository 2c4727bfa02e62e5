"""torchvision's classification networks, wrapped to the contract of our own classifiers."""

import torchvision
from torch import Tensor, nn

PREFIX = "torchvision/"  # of a backbone's name in a weights file: "torchvision/resnet50"

# torchvision normalises twice for these when it loads its own weights, and so must whoever loads them
TRANSFORM_INPUT = ("googlenet", "inception_v3")


class TorchvisionClassifier(nn.Module):
    """Normalised RGB batch (N, 3, H, W) to logits (N, classes) and features (N, F).

    Features are what enters the last linear layer; networks that end in a convolution (SqueezeNet) give
    the mean of their last feature map. State dict: `network.` and the names of torchvision.
    """

    def __init__(self, name: str, classes: int):
        super().__init__()
        options = {"init_weights": False} if name in TRANSFORM_INPUT else {}
        self.network = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
        if name in TRANSFORM_INPUT:
            self.network.transform_input = True
        linear = [path for path, layer in self.network.named_modules() if isinstance(layer, nn.Linear)]
        self.last_linear = linear[-1] if linear else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.last_linear is None:
            return self.network(x), self.network.features(x).mean(dim=(2, 3))
        captured: list[Tensor] = []
        layer = self.network.get_submodule(self.last_linear)
        hook = layer.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
        try:
            return self.network(x), captured[0]
        finally:
            hook.remove()
