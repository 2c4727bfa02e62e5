"""Images per second over a folder, beside a plain torch script with the same weights, in one run.

    python tests/bench/folder_throughput.py FOLDER [--count 1000] [--model efficientnet_lite2] [--turns 3]

The peer is what a tutorial shows (plain.py): Pillow, torchvision transforms, DataLoader with one worker a core, batch
16, eager float32. Both run as programs of their own over the same list of files, start-up included; then `cnncli
bench` gives the bound that decoding and the network set on this machine. The best turn of each counts.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from cold_start import seconds

PLAIN = Path(__file__).with_name("plain.py")
BATCH = 16


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
        plain = [sys.executable, str(PLAIN), "classify", str(listing), "--model", arguments.model]
        plain += ["--workers", str(os.cpu_count()), "--batch", str(BATCH)]
        bench = [*cnncli, "bench", "classify", f"@{listing}", "-m", arguments.model, "--device", "cpu", "--json"]
        rates: dict[str, float] = {}
        for _ in range(arguments.turns):
            for label, command in (("cnncli classify", own), ("plain torch script", plain)):
                rates[label] = max(rates.get(label, 0), len(files) / seconds(command, Path(name)))
        figures = json.loads(subprocess.run(bench, check=True, capture_output=True).stdout)
    for label, rate in rates.items():
        print(f"{rate:7.1f} images/s  {label} ({len(files)} photos, start-up included)")
    print(f"{figures['bound_images_per_s']:7.1f} images/s  bound: 1 / (1 / decode and prepare + 1 / forward)")
    print(f"cnncli / plain torch: {rates['cnncli classify'] / rates['plain torch script']:.2f}")
    print(f"cnncli / bound, start-up included: {rates['cnncli classify'] / figures['bound_images_per_s']:.3f}")
    print(f"cnncli / bound, of a run already started: {figures['efficiency']:.3f}")


if __name__ == "__main__":
    main()
