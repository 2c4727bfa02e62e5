"""Images per second over a folder, beside a plain torch script with the same weights, in one run.

    python tests/bench/folder_throughput.py FOLDER... [--task classify] [--count 1000] [--model NAME] [--alone]

The peer is what a tutorial shows (plain.py): Pillow, torchvision transforms, DataLoader with one worker a core, batch
16, eager float32. Both run as programs of their own over the same list of files, start-up included. The bound is 1 /
(1 / decode + 1 / forward): reading, decoding and preparing all of the list on all cores, and the network alone as
`cnncli bench` measures it. All take turns, and the best turn of each counts. `--alone` leaves the peer out.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cold_start import seconds

from cnncli.catalog import DEFAULT_MODELS, TASKS, resolve
from cnncli.config import DEFAULT_MAX_PIXELS, EngineConfig
from cnncli.engine.device import available_cpus
from cnncli.run.items import load_file
from cnncli.run.session import open_session

SUFFIXES = (".jpg", ".jpeg", ".png")
CNNCLI = [sys.executable, "-m", "cnncli"]
PLAIN = Path(__file__).with_name("plain.py")
BATCH = 16


def listed(folders: list[Path], count: int) -> list[str]:
    """As many photos of the folders, shuffled and repeated."""
    names = (str(path.resolve()) for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = sorted(names)
    random.Random(0).shuffle(files)
    return list(itertools.islice(itertools.cycle(files), count))


def decode_rate(task: str, model: str, files: list[str]) -> float:
    """Photos/s of reading, decoding and preparing all files, with a thread for each core."""
    analyser = open_session(task, resolve(TASKS[task].options)(), EngineConfig(model=model, device="cpu"), 1).task

    def prepare(file: str) -> None:
        next(analyser.analyse(load_file(file, analyser.decode, DEFAULT_MAX_PIXELS).pixels))

    start = time.perf_counter()
    with ThreadPoolExecutor(available_cpus()) as pool:
        for _ in pool.map(prepare, files):
            pass
    return len(files) / (time.perf_counter() - start)


def forward_rate(task: str, model: str, listing: Path) -> float:
    """Photos/s of the network alone, at its best batch."""
    bench = [*CNNCLI, "bench", task, f"@{listing}", "-m", model, "--device", "cpu", "--json"]
    return json.loads(subprocess.run(bench, check=True, capture_output=True).stdout)["forward_bound_images_per_s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of photos")
    parser.add_argument("--task", default="classify", choices=("classify", "detect"))
    parser.add_argument("--count", type=int, default=1000, help="inputs; the photos are repeated up to it")
    parser.add_argument("--model", help="the default is the task's")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    task, model = arguments.task, arguments.model or DEFAULT_MODELS[arguments.task]
    files = listed(arguments.folder, arguments.count)
    rates: dict[str, float] = {}

    def keep(label: str, rate: float) -> None:
        rates[label] = max(rates.get(label, 0), rate)

    with tempfile.TemporaryDirectory() as name:
        listing = Path(name) / "list.txt"
        listing.write_text("\n".join(files))
        own = [*CNNCLI, task, f"@{listing}", "-m", model, "--device", "cpu", "-q"]
        plain = [sys.executable, str(PLAIN), task, str(listing), "--model", model]
        plain += ["--workers", str(os.cpu_count()), "--batch", str(BATCH)]
        for _ in range(arguments.turns):
            keep("decode", decode_rate(task, model, files))
            keep("cnncli", len(files) / seconds(own, Path(name)))
            keep("forward", forward_rate(task, model, listing))
            if not arguments.alone:
                keep("plain", len(files) / seconds(plain, Path(name)))
    bound = 1 / (1 / rates["decode"] + 1 / rates["forward"])
    print(f"{rates['cnncli']:7.1f} images/s  cnncli {task} ({len(files)} photos, start-up included)")
    print(f"{rates['decode']:7.1f} images/s  reading, decoding and preparing; network alone {rates['forward']:.1f}")
    print(f"{bound:7.1f} images/s  bound: 1 / (1 / decode + 1 / forward)")
    print(f"cnncli / bound: {rates['cnncli'] / bound:.3f}")
    if "plain" in rates:
        print(f"{rates['plain']:7.1f} images/s  plain torch script (start-up included)")
        print(f"cnncli / plain torch: {rates['cnncli'] / rates['plain']:.2f}")


if __name__ == "__main__":
    main()
