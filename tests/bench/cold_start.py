"""How long one photo takes from the prompt to the answer, beside peers, in one run.

    python tests/bench/cold_start.py [PHOTO] [--repeat 5]

Peers: a script that runs torchvision's ResNet-50 (random weights, so no download), and `yolo ... predict` where
ultralytics is installed (random weights from its own yaml). Each program runs once to warm the disk cache, then all
of them in turn, so that a busy machine is busy for everyone; the median counts. Also: what `--help` costs against
importing Typer and rich.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PHOTO = Path(__file__).resolve().parents[1] / "photos" / "chelsea.png"
OFFLINE = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "HF_HUB_OFFLINE": "1", "YOLO_VERBOSE": "true"}
TORCHVISION = """
import sys, torch, torchvision
from PIL import Image
from torchvision.transforms import v2
model = torchvision.models.resnet50(weights=None).eval()
prepare = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
with torch.inference_mode():
    print(model(prepare(Image.open(sys.argv[1]).convert("RGB"))[None]).argmax().item())
"""


def yolo(folder: Path, task: str, network: str) -> list[str] | None:
    """The command of ultralytics with a random-weight network, where it is installed."""
    command = shutil.which("yolo") or os.environ.get("YOLO")
    if command is None:
        return None
    python = Path(command).with_name("python")
    program = f"import sys; from ultralytics import YOLO; YOLO('{network}.yaml').save(sys.argv[1])"
    weights = folder / f"{network}.pt"
    subprocess.run([python, "-c", program, weights], check=True, capture_output=True, env={**os.environ, **OFFLINE})
    return [command, task, "predict", f"model={weights}", "save=False", "source="]


def seconds(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(
        command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL, env={**os.environ, **OFFLINE}
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = str(arguments.photo.resolve())
        cnncli = [sys.executable, "-m", "cnncli"]
        programs = {
            "cnncli classify": [*cnncli, "classify", photo, "--device", "cpu"],
            "cnncli detect": [*cnncli, "detect", photo, "--device", "cpu"],
            "torchvision ResNet-50": [sys.executable, "-c", TORCHVISION, photo],
            "import typer, rich": [sys.executable, "-c", "import typer, rich"],
            "cnncli --help": [*cnncli, "--help"],
            "cnncli classify --help": [*cnncli, "classify", "--help"],
        }
        for task, network in (("classify", "yolov8n-cls"), ("detect", "yolov8n")):
            if (command := yolo(folder, task, network)) is not None:
                programs[f"yolo {task} predict"] = [*command[:-1], command[-1] + photo]
            else:
                print(f"yolo {task}: not installed (pip install ultralytics, or YOLO=/path/to/yolo), left out")
        times: dict[str, list[float]] = {name: [] for name in programs}
        for turn in range(arguments.repeat + 1):
            for name, program in programs.items():
                spent = seconds(program, folder)
                if turn:
                    times[name].append(spent)
        report({name: statistics.median(values) for name, values in times.items()})


def report(medians: dict[str, float]) -> None:
    for name, value in medians.items():
        print(f"{value:7.3f} s  {name}")
    pairs = (
        ("classify", "torchvision ResNet-50"),
        ("classify", "yolo classify predict"),
        ("detect", "yolo detect predict"),
    )
    for task, peer in pairs:
        if peer in medians:
            print(f"cnncli {task} / {peer}: {medians[f'cnncli {task}'] / medians[peer]:.3f}")
    for page in ("cnncli --help", "cnncli classify --help"):
        print(f"{page} / import typer, rich: {medians[page] / medians['import typer, rich']:.2f}")


if __name__ == "__main__":
    main()
