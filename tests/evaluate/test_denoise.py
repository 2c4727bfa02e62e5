"""Denoising measured: the noise is that of the literature, the figures are means, failures are counted once."""

import json
import math
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cnncli.evaluate.denoise import DEPTHS, EIGHT_BIT, FLOAT, NLM_STRENGTH, Trial, noise_seed, non_local_means

LEVELS = {15: (33.87, 24.61), 25: (31.19, 20.17), 50: (27.83, 14.15)}  # of the reference implementation: clean, noisy


def test_photos_named_by_numbers_have_that_seed() -> None:
    assert noise_seed("a/0033.png", 0) == 33
    assert noise_seed("a/0033.png", 4) == 37
    assert noise_seed("b/cat.png", 0) == zlib.crc32(b"cat")


def trial(depth: str, **options) -> Trial:
    return Trial(**{"sigma": 25.0, "depth": depth, "seed": 0, "max_pixels": 1 << 20, "beside": False, **options})


@pytest.mark.parametrize("depth", DEPTHS)
def test_noise_is_numpys(depth: str, tmp_path: Path) -> None:
    clean = np.random.default_rng(1).integers(0, 256, (12, 14, 3), np.uint8)
    Image.fromarray(clean).save(tmp_path / "7.png")
    (item,) = trial(depth).items([str(tmp_path / "7.png")])
    expected = clean / 255 + np.random.default_rng(7).normal(0, 25 / 255, clean.shape)
    if depth == EIGHT_BIT:
        expected = np.rint(np.clip(expected, 0, 1) * 255) / 255
    np.testing.assert_allclose(item.load().pixels, expected, atol=1e-6)


def test_figures_are_means(tmp_path: Path) -> None:
    clean = np.full((16, 16, 3), 0.5, np.float32)
    measured = trial(FLOAT)
    for error in (0.1, 0.01):
        measured._add("noisy", clean, clean + np.float32(error))
    assert measured.figures()["noisy"]["psnr"] == pytest.approx(30, abs=1e-3)  # of 20 and 40 dB


def test_equal_pictures_have_no_decibels() -> None:
    measured = trial(FLOAT)
    measured._add("denoised", np.zeros((16, 16, 3), np.float32), np.zeros((16, 16, 3), np.float32))
    assert measured.figures()["denoised"] == {"psnr": None, "ssim": 1.0}
    assert math.isinf(measured.scores["denoised"][0][0])


def test_non_local_means_is_opencvs(photos: Path) -> None:
    noisy = cv2.cvtColor(cv2.imread(str(photos / "coffee.png"))[:60, :80], cv2.COLOR_BGR2RGB)
    expected = cv2.fastNlMeansDenoisingColored(noisy, None, NLM_STRENGTH * 25, NLM_STRENGTH * 25)
    assert (np.rint(non_local_means(noisy.astype(np.float32) / 255, 25) * 255) == expected).all()


def test_command_counts_failures_once(here, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    Image.open(photos / "coffee.png").crop((0, 0, 48, 32)).save(tmp_path / "clean" / "1.png")
    (tmp_path / "clean" / "2.png").write_bytes(b"junk")
    done = here("eval", "denoise", "clean", "--sigma", "25,50", "--json")
    figures = json.loads(done.stdout)
    assert done.returncode == 1
    assert (figures["images"], figures["failed"]) == (1, 1)
    assert done.stderr.count(b"2.png") == 1
    for level in figures["levels"]:
        assert level["float"]["denoised"]["psnr"] > level["float"]["noisy"]["psnr"] + 3
        assert set(level["8-bit"]) == {"noisy", "denoised", "non_local_means"}
    (tmp_path / "clean" / "1.png").unlink()
    done = here("eval", "denoise", "clean")
    assert done.returncode == 2
    assert b"none of its 1 photos can be read" in done.stderr


@pytest.mark.parametrize("sigma", LEVELS)
def test_figures_of_the_literature(sigma: int, data_set, here) -> None:
    folder = data_set("cbsd68_12")
    figures = json.loads(here("eval", "denoise", folder, "--sigma", sigma, "--json").stdout)
    (level,) = figures["levels"]
    denoised, noisy = LEVELS[sigma]
    assert level["float"]["denoised"]["psnr"] == pytest.approx(denoised, abs=0.05)
    assert level["float"]["noisy"]["psnr"] == pytest.approx(noisy, abs=0.01)
    blind = json.loads(here("eval", "denoise", folder, "--sigma", sigma, "--blind", "--json").stdout)["levels"][0]
    assert blind["float"]["denoised"]["psnr"] > denoised - 0.5
