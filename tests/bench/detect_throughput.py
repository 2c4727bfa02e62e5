"""Photos per second of `cnncli detect` over a folder, beside `yolo detect predict`, in one run.

    YOLO=/path/to/yolo python tests/bench/detect_throughput.py FOLDER [--turns 2]

The peer is ultralytics' yolov8n with random weights at the nearest input size (448), as its command runs it: CPU,
nothing saved. Both are programs of their own over the same folder, start-up included; then `cnncli bench` gives the
bound that decoding and the network set on this machine. The best turn of each counts.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cold_start import seconds, yolo

SIZE = 448


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--turns", type=int, default=2)
    arguments = parser.parse_args()
    photos = str(arguments.folder.resolve())
    cnncli = [sys.executable, "-m", "cnncli"]
    with tempfile.TemporaryDirectory() as folder:
        command = yolo(Path(folder), "detect", "yolov8n")
        if command is None:
            sys.exit("yolo is not installed: pip install ultralytics somewhere, then YOLO=/path/to/yolo")
        programs = {
            "cnncli detect": [*cnncli, "detect", photos, "--device", "cpu", "-q"],
            "yolo detect predict": [*command[:-1], f"imgsz={SIZE}", "device=cpu", command[-1] + photos],
        }
        listed = subprocess.run([*cnncli, "classify", photos, "-q"], check=True, capture_output=True).stdout
        count = listed.count(b"\n")
        rates: dict[str, float] = {}
        for _ in range(arguments.turns):
            for label, program in programs.items():
                rates[label] = max(rates.get(label, 0), count / seconds(program, Path(folder)))
                shutil.rmtree(Path(folder) / "runs", ignore_errors=True)
        bench = [*cnncli, "bench", "detect", photos, "--device", "cpu", "--json"]
        figures = json.loads(subprocess.run(bench, check=True, capture_output=True).stdout)
    for label, rate in rates.items():
        print(f"{rate:7.1f} photos/s  {label} ({count} photos, start-up included)")
    print(f"{figures['bound_images_per_s']:7.1f} photos/s  bound: 1 / (1 / decode and prepare + 1 / forward)")
    print(f"cnncli / yolo: {rates['cnncli detect'] / rates['yolo detect predict']:.2f}")
    print(f"cnncli / bound, start-up included: {rates['cnncli detect'] / figures['bound_images_per_s']:.3f}")
    print(f"cnncli / bound, of a run already started: {figures['efficiency']:.3f}")


if __name__ == "__main__":
    main()
