"""Images per second on a GPU: every task's command, the bound of its network, and a plain torch script, in one run.

    python tests/bench/gpu_throughput.py FOLDER... [--tasks classify detect] [--count 2000] [--device cuda]

Commands and scripts are programs of their own over the same list of files. Each runs over a quarter of the list and
over all of it; the rate is of the difference, (3/4 of the files) / (difference of the times), which leaves out the
start-up of both, imports, loading and the first choice of kernels. The best turn of each counts. `cnncli bench` gives
the bound of the network alone, its best batch, and how busy the GPU is (with nvidia-ml-py installed). The peers are
those of plain.py with the same weights. On several GPUs `--device cuda:all` is a line of its own.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cold_start import seconds

TASKS = ("classify", "detect", "segment", "denoise", "verify-face")
FACES = {"verify-face": ["--landmarks"]}  # what has an answer for each photo
DECODED_BY_GPU = ("classify", "detect")
CNNCLI = [sys.executable, "-m", "cnncli"]
PLAIN = [sys.executable, str(Path(__file__).with_name("plain.py"))]
ENDINGS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Line:
    """One row of the table; `figures` are those of `cnncli bench`, none for a peer."""

    label: str
    rate: float
    figures: dict[str, Any]
    ratio: float | None = None  # to the task's peer

    def __str__(self) -> str:
        bound, busy = self.figures.get("forward_bound_images_per_s"), self.figures.get("gpu_busy_percent")
        share = f"{self.rate / bound:8.2f}" if bound else " " * 8
        batch = self.figures.get("best_batch") or ""
        used = "" if busy is None else f"{busy:.0f}%"
        over = "" if self.ratio is None else f"{self.ratio:.2f}"
        return f"{self.label:34} {self.rate:9.1f} {share} {batch:>6} {used:>6} {over:>7}"


HEAD = f"{'':34} {'images/s':>9} {'of bound':>8} {'batch':>6} {'busy':>6} {'/ plain':>7}"


def listing(folders: list[Path], count: int, into: Path) -> tuple[Path, Path]:
    """Lists of a quarter of the photos and of all, in random order and repeated up to `count`."""
    found = sorted(
        str(path.resolve()) for folder in folders for path in folder.rglob("*") if path.suffix.lower() in ENDINGS
    )
    if not found:
        sys.exit(f"no photos in {', '.join(map(str, folders))}")
    random.Random(0).shuffle(found)
    files = list(itertools.islice(itertools.cycle(found), count))
    few, many = into / "few.txt", into / "many.txt"
    few.write_text("\n".join(files[: count // 4]))
    many.write_text("\n".join(files))
    return few, many


def rate(command: list[str], lists: tuple[Path, Path], turns: int, mark: str = "") -> float:
    """Images per second of a command whose last word is the list of files; nan where noise hides it."""
    best = []
    for names in lists:
        words = [*command, f"{mark}{names}"]
        try:
            best.append(min(seconds(words, names.parent) for _ in range(turns)))
        except subprocess.CalledProcessError as error:
            sys.exit(f"{' '.join(words)}:\n{error.stderr.decode(errors='replace')[-2000:]}")
    few, many = (len(names.read_text().splitlines()) for names in lists)
    return (many - few) / (best[1] - best[0]) if best[1] > best[0] else float("nan")


def command_rate(task: str, lists: tuple[Path, Path], options: argparse.Namespace, *words: str) -> float:
    command = [*CNNCLI, task, *FACES.get(task, []), *words, "--engine", "torch", "-q", "--format", "jsonl"]
    return rate(command, lists, options.turns, mark="@")


def bench(task: str, names: Path, options: argparse.Namespace, *words: str) -> dict[str, Any]:
    command = [*CNNCLI, "bench", task, f"@{names}", "--device", options.device, "--engine", "torch", "--json"]
    command += ["--seconds", str(options.seconds), *words]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout)


def measured(task: str, lists: tuple[Path, Path], options: argparse.Namespace) -> list[Line]:
    """The peer's line and those of the command, which state their ratio to it."""
    model = ["--model", options.models[task]] if task in options.models else []
    peer = [*PLAIN, task, "--device", options.device, "--workers", str(options.workers), "--batch", str(options.batch)]
    plain = rate([*peer, *(model if task in DECODED_BY_GPU else [])], lists, options.turns)
    figures = bench(task, lists[1], options, *model)
    lines = [Line(f"{task}, plain torch", plain, {"forward_bound_images_per_s": figures["forward_bound_images_per_s"]})]

    def add(label: str, found: dict[str, Any], *words: str) -> None:
        own = command_rate(task, lists, options, *model, *words)
        lines.append(Line(label, own, found, own / plain))

    add(f"cnncli {task}", figures, "--device", options.device)
    if task in DECODED_BY_GPU:
        decoding = bench(task, lists[1], options, *model, "--decode", "device")
        busy = {key: decoding[key] for key in ("gpu_busy_percent",) if key in decoding}
        kept = {key: figures[key] for key in ("forward_bound_images_per_s", "best_batch")}  # of the network alone
        add(f"cnncli {task} --decode device", {**kept, **busy}, "--device", options.device, "--decode", "device")
    if options.gpus > 1:
        alone = figures["forward_bound_images_per_s"]
        several = {"forward_bound_images_per_s": alone and alone * options.gpus, "best_batch": figures["best_batch"]}
        add(f"cnncli {task}, {options.gpus} GPUs", several, "--device", "cuda:all")
    return lines


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of photos")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--count", type=int, default=2000, help="files; the photos are repeated up to it")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", default=[], metavar="TASK=MODEL", help="others than the tasks' own")
    parser.add_argument("--workers", type=int, default=16, help="processes of the peer's DataLoader")
    parser.add_argument("--batch", type=int, default=64, help="of the peer")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each stage of cnncli bench")
    options = parser.parse_args()
    if options.count < 4:
        parser.error("--count: give at least 4")
    if bad := [word for word in options.models if word.partition("=")[0] not in TASKS or "=" not in word]:
        parser.error(f"--models {bad[0]}: write it as TASK=MODEL")
    options.models = dict(word.split("=", 1) for word in options.models)
    options.gpus = 1
    if options.device.startswith("cuda"):
        from cnncli.engine.device import cuda_device_count

        options.gpus = cuda_device_count()
    return options


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory() as name:
        lists = listing(options.folder, options.count, Path(name))
        print(f"{options.count} files on {options.device}, {os.cpu_count()} cores")
        print("of bound: share of the network alone at its best batch; / plain: ratio to plain torch")
        print(HEAD)
        for task in options.tasks:
            for line in measured(task, lists, options):
                print(line, flush=True)


if __name__ == "__main__":
    main()
