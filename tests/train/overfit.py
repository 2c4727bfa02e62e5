"""A few steps on the same few examples: what can't learn these by heart can't learn at all."""

import torch
from torch import nn

from cnncli.nn.assemble import FromPixels
from cnncli.train.recipe import Batch, Recipe


def overfit(
    recipe: Recipe, steps: int, lr: float, batch: Batch | None = None, network: nn.Module | None = None
) -> list[float]:
    """The loss of each of so many steps of Adam on one batch: all training examples, unless given.

    `network` is trained in place; without it one is made from the first random numbers of seed 0.
    """
    torch.manual_seed(0)
    network = recipe.network() if network is None else network
    if batch is None:
        batch = recipe.collate([recipe.train.example(index) for index in range(len(recipe.train))])
    model = FromPixels(network, recipe.info.mean, recipe.info.std).train()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    losses = []
    for _ in range(steps):
        loss = recipe.loss(model, batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses
