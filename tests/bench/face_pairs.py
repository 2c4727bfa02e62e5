"""Pairs of faces: `cnncli verify-face --pairs` beside a plain script of OpenCV's own classes, in one run.

    python tests/bench/face_pairs.py PAIRS.CSV --detector YUNET.onnx --embedder SFACE.onnx [--repeat 3]

PAIRS.CSV: a heading img1,img2, names beside it. The script detects (FaceDetectorYN), aligns, embeds and compares
(FaceRecognizerSF) with the published float32 files, each photo once and in one size: twice its own where its sides are
under 320 px. Both start anew each time. Also printed: in how many pairs they agree.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLAIN = """
import csv, os, sys, cv2
pairs, detector, embedder = sys.argv[1:]
detect = cv2.FaceDetectorYN.create(detector, "", (320, 320), 0.6, 0.3)
embed = cv2.FaceRecognizerSF.create(embedder, "")
known = {}
def features(name):
    if name not in known:
        photo = cv2.imread(os.path.join(os.path.dirname(pairs), name))
        if max(photo.shape[:2]) < 320:
            photo = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        detect.setInputSize(photo.shape[1::-1])
        faces = detect.detect(photo)[1]
        known[name] = embed.feature(embed.alignCrop(photo, max(faces, key=lambda f: f[2] * f[3]))).copy()
    return known[name]
for row in csv.DictReader(open(pairs)):
    print(int(embed.match(features(row["img1"]), features(row["img2"]), cv2.FaceRecognizerSF_FR_COSINE) >= 0.363))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--embedder", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=3)
    words = parser.parse_args()
    with open(words.pairs, newline="") as file:
        rows = list(csv.DictReader(file))
    photos = {row[key] for row in rows for key in ("img1", "img2")}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "plain.py"
        script.write_text(PLAIN)
        commands = {
            "cnncli verify-face --pairs": [sys.executable, "-m", "cnncli", "verify-face", "--pairs", words.pairs],
            "script of OpenCV's classes": [sys.executable, script, words.pairs, words.detector, words.embedder],
        }
        times, answers = measure(
            {name: [str(part) for part in parts] for name, parts in commands.items()}, words.repeat
        )
    ours, plain = times.values()
    print(f"{len(rows)} pairs of {len(photos)} photos, medians of {words.repeat} runs, start-up included")
    for name, seconds in times.items():
        print(f"{seconds:7.2f} s  {len(rows) / seconds:7.1f} pairs/s  {name}")
    print(f"speed / script: {plain / ours:.2f}")
    print(f"same verdict: {agreement(*answers.values()):.2%}")


def measure(commands: dict[str, list[str]], repeat: int) -> tuple[dict[str, float], dict[str, str]]:
    """Median seconds and output of each; in turn, so that a busy machine is busy for all."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    outputs = {}
    for _ in range(repeat):
        for name, command in commands.items():
            start = time.perf_counter()
            outputs[name] = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}, outputs


def agreement(records: str, verdicts: str) -> float:
    """The part of the pairs on which cnncli's records and the script's lines say the same."""
    ours = [json.loads(line)["verified"] for line in records.splitlines()]
    theirs = [line == "1" for line in verdicts.splitlines() if line in ("0", "1")]
    return sum(one == other for one, other in zip(ours, theirs, strict=True)) / len(ours)


if __name__ == "__main__":
    main()
