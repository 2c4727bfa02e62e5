"""Where training runs: one device, or one process on each of many, by Lightning Fabric."""

import logging
import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from cnncli.engine.torch_engine import usable_device
from cnncli.errors import UsageError
from cnncli.train.config import TrainConfig

PRECISIONS = {"fp32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}
WORKERS = 16  # that load data, at most: more only wait for each other's disk


def processes() -> int:
    """How many processes the launcher has started for this run (torchrun sets WORLD_SIZE)."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def is_first_process() -> bool:
    return processes() == 1 or os.environ.get("RANK", "0") == "0"


def open_fabric(config: TrainConfig) -> Fabric:
    """Device, precision and processes. DeviceError where the device is absent."""
    for name in ("lightning", "lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    kind, index = _device(config.device)
    if config.precision == "fp16" and kind != "cuda":
        raise UsageError("--precision fp16 trains on CUDA alone; use bf16 or fp32")
    _prepare_torch(config, kind)
    count = processes()
    if count > 1:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        strategy = DDPStrategy(process_group_backend="nccl" if kind == "cuda" else "gloo")
        fabric = Fabric(
            accelerator=kind, devices=local, num_nodes=count // local, strategy=strategy,
            precision=PRECISIONS[config.precision],
        )  # fmt: skip
    else:
        fabric = Fabric(
            accelerator=kind, devices=[index] if kind == "cuda" else 1, precision=PRECISIONS[config.precision]
        )
    fabric.launch()
    return fabric


def _device(name: str) -> tuple[str, int]:
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            name = "mps" if torch.backends.mps.is_available() else "cpu"
    device = usable_device(name)
    return device.type, device.index or 0


def _prepare_torch(config: TrainConfig, kind: str) -> None:
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if kind == "cuda" and config.precision == "fp32":
        torch.backends.cuda.matmul.allow_tf32 = not config.deterministic
        torch.backends.cudnn.allow_tf32 = not config.deterministic
    torch.backends.cudnn.benchmark = not config.deterministic
    torch.backends.cudnn.deterministic = config.deterministic
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat itself
    torch.use_deterministic_algorithms(config.deterministic)


def loading_workers(config: TrainConfig, kind: str) -> int:
    """Processes that load data: with a GPU one per core; on the CPU none, since training takes all cores itself."""
    if config.workers is not None:
        return config.workers
    return min(WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4) if kind != "cpu" else 0
