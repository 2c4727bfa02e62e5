"""Images per second over a folder, beside a plain torch script with the same weights, in one run.

    python tests/bench/folder_throughput.py FOLDER [--count 1000] [--model efficientnet_lite2] [--turns 3]

The peer is what a tutorial shows: Pillow, torchvision transforms, DataLoader with one worker a core, batch 16, eager
float32. Both run as programs of their own over the same list of files, start-up included; then `cnncli bench` gives
the bound that decoding and the network set on this machine. The best turn of each counts.
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
from pathlib import Path

PLAIN = """
import sys
from pathlib import Path
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2
from cnncli.io.store import model_path
from cnncli.io.weights import load_weights
from cnncli.nn.checkpoint import load_model

weights = load_weights(model_path(sys.argv[2]))
recipe = weights.info.recipe
prepare = v2.Compose([
    v2.Resize(recipe["resize"], InterpolationMode.BICUBIC, antialias=True),
    v2.CenterCrop(recipe["input"]),
    v2.PILToTensor(),
])

class Photos(Dataset):
    def __init__(self, files):
        self.files = files
    def __len__(self):
        return len(self.files)
    def __getitem__(self, index):
        return prepare(Image.open(self.files[index]).convert("RGB"))

model = load_model(weights).model
mean, std = torch.tensor(weights.info.mean).view(3, 1, 1), torch.tensor(weights.info.std).view(3, 1, 1)
files = Path(sys.argv[1]).read_text().splitlines()
with torch.inference_mode():
    for images in DataLoader(Photos(files), batch_size=16, num_workers=int(sys.argv[3])):
        scores, labels = model((images.float() - mean) / std)[0].softmax(1).topk(5)
        for row in range(len(images)):
            print([(weights.info.classes[label], float(score)) for label, score in zip(labels[row], scores[row])])
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of photos")
    parser.add_argument("--count", type=int, default=1000, help="inputs; the photos are repeated up to it")
    parser.add_argument("--model", default="efficientnet_lite2")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    files = sorted(
        str(path.resolve())
        for folder in arguments.folder
        for path in folder.rglob("*")
        if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    random.Random(0).shuffle(files)  # so that the part on which the bound is measured is like the whole
    files = list(itertools.islice(itertools.cycle(files), arguments.count))
    with tempfile.TemporaryDirectory() as name:
        listing = Path(name) / "list.txt"
        listing.write_text("\n".join(files))
        cnncli = [sys.executable, "-m", "cnncli"]
        own = [*cnncli, "classify", f"@{listing}", "-m", arguments.model, "--device", "cpu", "-q"]
        plain = [sys.executable, "-c", PLAIN, str(listing), arguments.model, str(os.cpu_count())]
        bench = [*cnncli, "bench", "classify", f"@{listing}", "-m", arguments.model, "--device", "cpu", "--json"]
        rates: dict[str, float] = {}
        for _ in range(arguments.turns):
            for label, command in (("cnncli classify", own), ("plain torch script", plain)):
                rates[label] = max(rates.get(label, 0), len(files) / seconds(command))
        figures = json.loads(subprocess.run(bench, check=True, capture_output=True).stdout)
    for label, rate in rates.items():
        print(f"{rate:7.1f} images/s  {label} ({len(files)} photos, start-up included)")
    print(f"{figures['bound_images_per_s']:7.1f} images/s  bound: 1 / (1 / decode and prepare + 1 / forward)")
    print(f"cnncli / plain torch: {rates['cnncli classify'] / rates['plain torch script']:.2f}")
    print(f"cnncli / bound, start-up included: {rates['cnncli classify'] / figures['bound_images_per_s']:.3f}")
    print(f"cnncli / bound, of a run already started: {figures['efficiency']:.3f}")


if __name__ == "__main__":
    main()
