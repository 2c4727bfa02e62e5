"""The training loop: epochs of steps, a validation after each, and a state from which a run goes on exactly.

Everything random is drawn from seeds made of the run's seed, the epoch and the example, and the learning rate is a
function of the step; so the state is the network, the optimizer and the number of epochs, and no generator's.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cnncli.nn.assemble import FromPixels
from cnncli.train.batches import TrainingOrder, ValidationOrder, loader, mixed
from cnncli.train.devices import loading_workers
from cnncli.train.errors import TrainingError
from cnncli.train.freeze import freeze, training_mode
from cnncli.train.memory import largest_batch, runs_out
from cnncli.train.optimizers import make_optimizer
from cnncli.train.recipe import Batch, Meter, Notify, Recipe
from cnncli.train.schedule import rate_factor

LOOK_EVERY = 50  # steps on an accelerator between looks at the loss: each look waits for the device

Progress = Callable[[int, int], None]  # steps done, steps of the epoch


@dataclass(frozen=True)
class EpochReport:
    """One epoch: numbered from 1, with its figures ("loss" of training, "val_…" of validation)."""

    epoch: int
    figures: dict[str, float]
    is_best: bool
    seconds: float
    images_per_second: float


@dataclass
class Standing:
    """How far a run has come, and which of its epochs was the best."""

    epoch: int = 0
    best_epoch: int = 0
    best_figures: dict[str, float] = field(default_factory=dict)

    def accept(self, epoch: int, figures: dict[str, float], best: tuple[str, str]) -> bool:
        """Note an epoch's figures; whether they are the best so far."""
        self.epoch = epoch
        better = not self.best_figures or _rank(figures, best) > _rank(self.best_figures, best)
        if better:
            self.best_epoch, self.best_figures = epoch, figures
        return better


def _rank(figures: dict[str, float], best: tuple[str, str]) -> tuple[float, float]:
    """The figure that decides, then the loss: larger is better."""
    name, direction = best
    value = figures[f"val_{name}"]
    return (value if direction == "max" else -value), -figures["val_loss"]


class Trainer:
    """Trains one recipe's network."""

    def __init__(self, recipe: Recipe, network: nn.Module, fabric: Fabric, notify: Notify, progress: Progress):
        self.recipe, self.config, self.fabric = recipe, recipe.config, fabric
        self._notify, self._progress = notify, progress
        self.standing = Standing()
        self.raw = FromPixels(network, recipe.info.mean, recipe.info.std)
        self.raw = self.raw.to(memory_format=torch.channels_last)
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            self.raw = nn.SyncBatchNorm.convert_sync_batchnorm(self.raw)
        self._freeze_for(1)
        self.optimizer = make_optimizer(network, recipe)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self._set_up()
        self.mean = _running_mean(self.raw, self.config.ema)
        self.accumulate = self.config.accumulate
        self.batch_size = self._batch_size()
        self._open_loaders()

    @property
    def network(self) -> nn.Module:
        """The network whose answers count: the running mean of the trained one's parameters, where one is kept."""
        return self.evaluated.model

    @property
    def evaluated(self) -> FromPixels:
        return self.raw if self.mean is None else self.mean.module

    def epochs(self) -> Iterator[EpochReport]:
        """Train epoch after epoch to the end, or until the best one lies `patience` epochs back."""
        for epoch in range(self.standing.epoch + 1, self.config.epochs + 1):
            if self._is_over():
                return
            started = time.monotonic()
            if epoch == self.config.unfreeze_at:
                self._freeze_for(epoch)
                self._set_up()
            figures = self._train(epoch)
            trained = time.monotonic() - started
            figures |= {f"val_{name}": value for name, value in self.validate().items()}
            if not math.isfinite(figures["val_loss"]):
                raise self._diverged(f"after epoch {epoch}")
            is_best = self.standing.accept(epoch, figures, self.recipe.best)
            speed = len(self._order) * self._order.batch_size / trained
            yield EpochReport(epoch, figures, is_best, time.monotonic() - started, speed)

    def state(self) -> dict[str, Any]:
        """What it takes to go on after this epoch: tensors, numbers and texts."""
        return {
            "epoch": self.standing.epoch,
            "best_epoch": self.standing.best_epoch,
            "best_figures": self.standing.best_figures,
            "network": self.raw.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "mean": None if self.mean is None else self.mean.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.standing = Standing(state["epoch"], state["best_epoch"], state["best_figures"])
        if self.config.unfreeze_at is not None and self.standing.epoch >= self.config.unfreeze_at:
            self._freeze_for(self.standing.epoch)
            self._set_up()
        self.raw.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])

    def validate(self) -> dict[str, float]:
        """Figures of the validation part, each example counted once over all processes."""
        self._share_buffers()
        model = InFloat32(self.evaluated).eval()
        meter: Meter = self.recipe.meter().to(self.fabric.device)
        with torch.inference_mode(), self.fabric.autocast():
            for batch in self._val_loader:
                meter.update(model, self._placed(batch))
        return {name: float(value) for name, value in meter.compute().items()}

    def _train(self, epoch: int) -> dict[str, float]:
        torch.manual_seed(mixed(self.config.seed, epoch, self.fabric.global_rank))  # of dropout and mixup
        self._learn()
        self._order.epoch = epoch
        steps = len(self._order)
        sums: dict[str, Tensor] = {}
        for step, batch in enumerate(self._loader):
            rate = rate_factor(
                self.config.schedule, (epoch - 1) * steps + step, self.config.epochs * steps, self.config.warmup
            )
            for group, base in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = base * rate
            for name, value in self._step(self._placed(batch), step == steps - 1, step).items():
                sums[name] = sums[name] + value if name in sums else value
            self._check_finite(sums["loss"], epoch, step, last=step == steps - 1)
            self._progress(step + 1, steps)
        means = {name: self.fabric.all_reduce(value / steps, reduce_op="mean") for name, value in sums.items()}
        return {"lr": self.optimizer.param_groups[0]["lr"], **{name: float(value) for name, value in means.items()}}

    def _step(self, batch: Batch, is_last: bool, number: int) -> dict[str, Tensor]:
        """Gradients of a batch, and every `accumulate` batches (and at the end) a step of the optimizer."""
        updates = is_last or (number + 1) % self.accumulate == 0
        with self.fabric.no_backward_sync(self.model, enabled=not updates):
            losses = self.recipe.loss(self.model, batch)
            self.fabric.backward(losses["loss"] / self.accumulate)
        if updates:
            if self.config.clip is not None:
                self.fabric.clip_gradients(
                    self.model, self.wrapped, max_norm=self.config.clip, error_if_nonfinite=False
                )
            self.wrapped.step()
            self.wrapped.zero_grad()
            if self.mean is not None:
                self.mean.update_parameters(self.raw)
        return {name: value.detach() for name, value in losses.items()}

    def _check_finite(self, loss_sum: Tensor, epoch: int, step: int, last: bool) -> None:
        if self.fabric.device.type != "cpu" and not last and (step + 1) % LOOK_EVERY:
            return
        if not torch.isfinite(loss_sum):
            raise self._diverged(f"epoch {epoch}, step {step + 1}")

    def _diverged(self, place: str) -> TrainingError:
        lr = self.optimizer.param_groups[0]["lr"]
        return TrainingError(
            f"the loss is no longer a number ({place}, learning rate {lr:.2g}); try a smaller --lr, --clip 1, or "
            "--precision fp32"
        )

    def _freeze_for(self, epoch: int) -> None:
        thawed = self.config.unfreeze_at is not None and epoch >= self.config.unfreeze_at
        freeze(self.raw.model, "" if thawed else self.config.freeze)

    def _set_up(self) -> None:
        """Wrap model and optimizer for device, precision and processes; anew when other parameters are to learn."""
        model = torch.compile(self.raw) if self.config.compile else self.raw
        self.model, self.wrapped = self.fabric.setup(model, self.optimizer)

    def _batch_size(self) -> int:
        """What is asked for; else the recipe's own, on an accelerator cut into as many batches a step as it takes."""
        wanted = self.config.batch_size or self.recipe.batch_size
        if self.config.batch_size is not None or self.fabric.device.type != "cuda":
            return wanted
        size = largest_batch(self._fits, wanted, self.fabric.world_size)
        if size < wanted:
            self.accumulate *= wanted // size
            self._notify(f"{wanted} examples don't fit at once: {self.accumulate} batches of {size} make a step")
        return size

    def _fits(self, size: int) -> bool:
        """Whether gradients of so many examples can be computed; the network stays as it was."""
        before = copy.deepcopy(self.raw.state_dict())
        order = TrainingOrder(self.recipe, size, self.fabric.global_rank, self.fabric.world_size)
        batch = next(iter(loader(self.recipe, self.recipe.train, order, 0, False)))
        short = runs_out(lambda: self._gradients(self._placed(batch)))
        self.wrapped.zero_grad()
        self.raw.load_state_dict(before)
        return not self.fabric.all_reduce(torch.tensor(float(short), device=self.fabric.device), reduce_op="sum")

    def _learn(self) -> None:
        self.raw.train()
        training_mode(self.raw.model, self.recipe.is_pretrained and not self.config.update_statistics)

    def _gradients(self, batch: Batch) -> None:
        self._learn()
        with self.fabric.no_backward_sync(self.model):
            self.fabric.backward(self.recipe.loss(self.model, batch)["loss"])

    def _open_loaders(self) -> None:
        fabric, recipe, size = self.fabric, self.recipe, self.batch_size
        self._order = TrainingOrder(recipe, size, fabric.global_rank, fabric.world_size)
        val_order = ValidationOrder(
            len(recipe.val), max(1, size // fabric.world_size), fabric.global_rank, fabric.world_size
        )
        workers = loading_workers(self.config, fabric.device.type)
        pinned = fabric.device.type == "cuda"
        self._loader = loader(recipe, recipe.train, self._order, workers, pinned)
        self._val_loader = loader(recipe, recipe.val, val_order, workers, pinned)

    def _placed(self, batch: Batch) -> Batch:
        return self.fabric.to_device(batch)

    def _share_buffers(self) -> None:
        """Running statistics of the first process for all: each has those of its own batches since the last step."""
        if self.fabric.world_size > 1:
            for buffer in self.evaluated.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def _is_over(self) -> bool:
        patience, standing = self.config.patience, self.standing
        return patience is not None and standing.epoch - standing.best_epoch >= patience


class InFloat32(nn.Module):
    """A model whose answers are float32 whatever it computes in: metrics add up many of them."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any) -> tuple[Tensor, ...]:
        answers = self.model(*inputs)
        return tuple(value.float() if value.is_floating_point() else value for value in answers)


def _running_mean(model: nn.Module, kept: float) -> AveragedModel | None:
    """A copy whose parameters are the exponential mean of the model's, statistics those of its last step."""
    if not kept:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(kept))
