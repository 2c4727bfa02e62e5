"""Images per second of `cnncli cluster` with a worker a core, beside one process and beside Ray Data, in one run.

    python -m tests.bench.cluster FOLDER... [--count 2000] [--turns 2]

Three ways to use Ray over the same files and the same Predictor: the command, whose workers decode for themselves; Ray
Data with a decoding Predictor in each actor; and Ray Data that decodes in tasks of its own and hands pixels to actors,
half of the cores for each. All run as programs of their own. The rate leaves out the start, which is measured on as
many files as there are workers; the best turn of each counts.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RAY_DATA = """
import os, sys
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
import numpy as np, ray
from cnncli import Predictor
from cnncli.io.images import decode

files, way, cores = open(sys.argv[1]).read().splitlines(), sys.argv[2], int(sys.argv[3])
ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
ray.data.DataContext.get_current().enable_progress_bars = False

def pixels(batch):
    photos = np.empty(len(batch["item"]), object)
    for row, file in enumerate(batch["item"]):
        photos[row] = decode(open(file, "rb").read()).pixels
    return {"item": batch["item"], "photo": photos}

class Answers:
    def __init__(self, column):
        self.column = column
        self.predict = Predictor("classify", device="cpu", threads=1, workers=1)
    def __call__(self, batch):
        records = self.predict(list(batch[self.column]))
        return {"file": batch["item"], "label": [record["classes"][0]["label"] for record in records]}

names = ray.data.from_items(files, override_num_blocks=max(1, min(16, len(files) // 32)))
if way == "split":
    names = names.map_batches(pixels, batch_size=64, num_cpus=1)
actors = max(1, cores // 2) if way == "split" else cores
column = "photo" if way == "split" else "item"
found = names.map_batches(Answers, fn_constructor_args=[column], concurrency=actors, num_cpus=1, batch_size=64)
print(found.materialize().count())
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace")[-2000:])
    return time.perf_counter() - start


def commands(listing: Path, folder: Path, cores: int) -> dict[str, list[str]]:
    cnncli = [sys.executable, "-m", "cnncli"]
    cluster = [*cnncli, "cluster", "classify", f"@{listing}", "--out", str(folder / "out.jsonl"), "--overwrite", "-q"]
    data = [sys.executable, "-c", RAY_DATA, str(listing)]
    return {
        "one process": [*cnncli, "classify", f"@{listing}", "--device", "cpu", "-q"],
        "cnncli cluster": [*cluster, "--workers", str(cores)],
        "Ray Data, actors decode": [*data, "whole", str(cores)],
        "Ray Data, tasks decode": [*data, "split", str(cores)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of photos")
    parser.add_argument("--count", type=int, default=2000, help="inputs; the photos are repeated up to it")
    parser.add_argument("--turns", type=int, default=2)
    given = parser.parse_args()
    endings = (".jpg", ".jpeg", ".png")
    found = (path for folder in given.folder for path in sorted(folder.rglob("*")) if path.suffix.lower() in endings)
    files = list(itertools.islice(itertools.cycle([str(path.resolve()) for path in found]), given.count))
    cores = len(os.sched_getaffinity(0))
    rates: dict[str, float] = {}
    starts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        few, many = Path(name) / "few.txt", Path(name) / "many.txt"
        few.write_text("\n".join(files[:cores]))
        many.write_text("\n".join(files))
        for _ in range(given.turns):
            for way, command in commands(few, Path(name), cores).items():
                starts[way] = min(starts.get(way, 1e9), seconds(command))
            for way, command in commands(many, Path(name), cores).items():
                rates[way] = max(rates.get(way, 0.0), (len(files) - cores) / (seconds(command) - starts[way]))
    for way, rate in rates.items():
        ratio = rate / rates["one process"]
        print(f"{rate:7.1f} images/s, {ratio:.2f} of one process, {starts[way]:4.1f} s to start  {way}")


if __name__ == "__main__":
    main()
