"""The optimizer of a network: one group for a pretrained backbone, which learns more slowly, one for the rest."""

import torch
from torch import nn
from torch.optim import Optimizer

from cnncli.train.recipe import Recipe

SGD_FACTOR = 10  # SGD's learning rate over Adam's, where none is asked for
MOMENTUM = 0.9
WEIGHT_DECAY = {"sgd": 1e-4, "adam": 0.0, "adamw": 0.01}  # Adam's is no decay but a penalty: Loshchilov & Hutter 2019
PRETRAINED_FACTOR = 0.1  # of the learning rate, for a backbone that has learned before


def make_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    config = recipe.config
    lr = config.lr or recipe.lr * (SGD_FACTOR if config.optimizer == "sgd" else 1)
    decay = WEIGHT_DECAY[config.optimizer] if config.weight_decay is None else config.weight_decay
    groups = [{"params": part, "lr": lr * factor} for part, factor in _groups(network, recipe) if part]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM, weight_decay=decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=lr, weight_decay=decay)


def _groups(network: nn.Module, recipe: Recipe) -> list[tuple[list[nn.Parameter], float]]:
    """New parameters first, then those of the backbone."""
    backbone = getattr(network, "backbone", None) if recipe.is_pretrained else None
    trunk = {id(p) for p in backbone.parameters()} if backbone is not None else set()
    factor = recipe.config.backbone_rate if recipe.config.backbone_rate is not None else PRETRAINED_FACTOR
    parameters = list(network.parameters())
    return [([p for p in parameters if id(p) not in trunk], 1), ([p for p in parameters if id(p) in trunk], factor)]
