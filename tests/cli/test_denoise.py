"""`cnncli denoise` as a user calls it: what it removes, what it keeps of a file, and what it refuses."""

import csv
import io
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cnncli.results.schema import schema
from tests.conftest import records

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CAMERA = 0x0110  # EXIF's tag of the camera's model


@pytest.fixture
def photo(crops: Path, tmp_path: Path) -> np.ndarray:
    """120 x 80 px in photo.png."""
    pixels = picture(crops / "coffee.png")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return pixels


@pytest.fixture
def denoised(here):
    """Run `denoise` over one photo; its record, which is valid."""

    def run(*arguments: Any) -> dict[str, Any]:
        done = here("denoise", *arguments)
        assert (done.returncode, done.stderr) == (0, b"")
        (record,) = records(done.stdout)
        jsonschema.validate(record, schema("denoise"))
        return record

    return run


def picture(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def make_noisy(photo: np.ndarray, sigma: float, path: str = "noisy.png") -> np.ndarray:
    """The photo with Gaussian noise of a level (of 255), by NumPy, in a file."""
    noise = np.random.default_rng(0).normal(0, sigma, photo.shape)
    noisy = np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path)
    return noisy


def test_removes_noise_of_a_known_level(photo: np.ndarray, denoised) -> None:
    noisy = make_noisy(photo, 25)
    record = denoised("noisy.png", "--sigma", "25", "--out", "clean.png")
    assert (record["sigma"], record["tiles"], record["output"]) == (25, 1, "clean.png")
    assert psnr(picture("clean.png"), photo) > psnr(noisy, photo) + 6
    non_local = cv2.fastNlMeansDenoisingColored(noisy, None, 12.5, 12.5)
    assert psnr(picture("clean.png"), photo) > psnr(non_local, photo)


def test_estimates_the_level(photo: np.ndarray, denoised) -> None:
    noisy = make_noisy(photo, 15)
    record = denoised("noisy.png", "--out", "clean.png")
    assert record["sigma"] == pytest.approx(15, abs=2)
    assert psnr(picture("clean.png"), photo) > psnr(noisy, photo) + 4
    known = denoised("noisy.png", "--sigma", str(record["sigma"]), "--out", "known.png")
    assert known["sigma"] == record["sigma"]
    assert np.abs(picture("known.png").astype(int) - picture("clean.png")).max() <= 1


def test_strength_is_a_part_of_the_way(photo: np.ndarray, denoised) -> None:
    noisy = make_noisy(photo, 25)
    for strength in ("0", "0.5", "1"):
        denoised("noisy.png", "--sigma", "25", "--strength", strength, "--out", f"{strength}.png")
    np.testing.assert_array_equal(picture("0.png"), noisy)
    middle = (noisy.astype(float) + picture("1.png")) / 2
    assert np.abs(picture("0.5.png") - middle).max() <= 1
    denoised("noisy.png", "--sigma", "0", "--out", "none.png")
    np.testing.assert_array_equal(picture("none.png"), noisy)


def test_tiles_join_without_seams(photo: np.ndarray, denoised) -> None:
    large = np.tile(photo, (2, 2, 1))[:151, :215]
    make_noisy(large, 20)
    assert denoised("noisy.png", "--sigma", "20", "--out", "whole.png")["tiles"] == 1
    record = denoised("noisy.png", "--sigma", "20", "--tile", "128", "--out", "tiles.png")
    assert record["tiles"] == 6
    assert np.abs(picture("tiles.png").astype(int) - picture("whole.png")).max() <= 1


def test_added_noise_has_its_level_and_repeats(photo: np.ndarray, denoised) -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    Image.fromarray(grey).save("grey.png")
    record = denoised("grey.png", "--add-noise", "25", "--out", "noisy.png")
    assert (record["sigma"], record["tiles"], record["model"], record["engine"]) == (25, 0, None, "numpy")
    noise = picture("noisy.png").astype(float) - grey
    assert noise.std() == pytest.approx(25, abs=0.2)
    assert noise.mean() == pytest.approx(0, abs=0.3)
    denoised("grey.png", "--add-noise", "25", "--seed", "0", "--out", "again.png")
    assert Path("again.png").read_bytes() == Path("noisy.png").read_bytes()
    denoised("grey.png", "--add-noise", "25", "--seed", "1", "--out", "other.png")
    difference = picture("other.png").astype(float) - picture("noisy.png")
    assert difference.std() == pytest.approx(25 * 2**0.5, abs=0.5)  # of two independent noises


def test_every_photo_of_a_folder_has_its_own_noise(photo: np.ndarray, here, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        Image.new("RGB", (64, 64), (128, 128, 128 + number)).save(tmp_path / "in" / f"{number}.png")
    assert here("denoise", "in", "--add-noise", "10", "--out-dir", "out").returncode == 0
    one, other = (picture(tmp_path / "out" / f"{number}.png").astype(int) for number in range(2))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.1


def test_reference_gives_the_likeness(photo: np.ndarray, denoised) -> None:
    noisy = make_noisy(photo, 15)
    record = denoised("noisy.png", "--reference", "photo.png", "--out", "clean.png")
    for suffix, pixels in (("_before", noisy), ("", picture("clean.png"))):
        assert record[f"psnr{suffix}"] == pytest.approx(peak_signal_noise_ratio(photo, pixels), abs=1e-3)
        similarity = structural_similarity(
            photo, pixels, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert record[f"ssim{suffix}"] == pytest.approx(similarity, abs=2e-3)  # it also counts the border
    same = denoised("photo.png", "--reference", "photo.png", "--strength", "0")
    assert (same["psnr"], same["ssim"]) == (None, 1)


def test_reference_of_several_is_a_folder(photo: np.ndarray, here, tmp_path: Path) -> None:
    for folder in ("in/a", "in/b", "clean/a"):
        (tmp_path / folder).mkdir(parents=True)
    make_noisy(photo, 15, "in/a/1.png")
    make_noisy(photo[:40], 15, "in/a/2.png")
    make_noisy(photo, 15, "in/b/1.png")
    Image.fromarray(photo).save(tmp_path / "clean/a/1.png")
    Image.fromarray(photo).save(tmp_path / "clean/a/2.png")
    done = here("denoise", "-r", "in", "--reference", "clean")
    assert done.returncode == 1
    first, smaller, missing = records(done.stdout)
    assert first["psnr"] > first["psnr_before"] > 20
    assert smaller["failure"] == "its reference clean/a/2.png is 120 x 80, not 120 x 40"
    assert missing["failure"] == "its reference clean/b/1.png: no such file"
    for record in (first, smaller, missing):
        jsonschema.validate(record, schema("denoise"))


def test_compare_shows_before_and_after(photo: np.ndarray, denoised) -> None:
    noisy = make_noisy(photo, 15)
    record = denoised("noisy.png", "--out", "clean.png", "--compare", "both.png")
    assert record["compare"] == "both.png"
    both = picture("both.png")
    assert both.shape == (80, 2 * 120 + 2, 3)
    np.testing.assert_array_equal(both[:, :120], noisy)
    assert (both[:, 120:122] == 255).all()
    np.testing.assert_array_equal(both[:, 122:], picture("clean.png"))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_stay_16_bits(suffix: str, channels: int, photo: np.ndarray, denoised) -> None:
    clean = (photo if channels == 3 else photo[..., 1]).astype(float) * 257
    noise = np.random.default_rng(0).normal(0, 15 * 257, clean.shape)
    noisy = np.clip(np.rint(clean + noise), 0, 65535).astype(np.uint16)
    tifffile.imwrite("noisy.tif", noisy, photometric="rgb" if channels == 3 else "minisblack")
    cv2.imwrite("noisy.png", noisy[..., ::-1] if channels == 3 else noisy)
    denoised(f"noisy{suffix}", "--sigma", "15", "--out", f"clean{suffix}")
    if suffix == ".tif":
        found = tifffile.imread("clean.tif")
    else:
        found = cv2.imread("clean.png", cv2.IMREAD_UNCHANGED)
        found = found[..., ::-1] if channels == 3 else found
    assert (found.dtype, found.shape) == (np.uint16, noisy.shape)
    assert (found % 257 != 0).mean() > 0.9  # values between those of 8 bits
    assert psnr(found / 257, clean / 257) > psnr(noisy / 257, clean / 257) + 3


def test_keeps_transparency_profile_and_exif(photo: np.ndarray, denoised) -> None:
    alpha = np.linspace(0, 255, 80 * 120).reshape(80, 120).astype(np.uint8)
    exif = Image.Exif()
    exif[CAMERA] = "Pinhole"
    exif[0x0112] = 6
    image = Image.fromarray(np.dstack([photo, alpha])).transpose(Image.Transpose.ROTATE_90)
    image.save("turned.png", exif=exif, icc_profile=SRGB)
    record = denoised("turned.png", "--sigma", "10", "--out", "clean.png")
    assert (record["width"], record["height"], record["exif_orientation"]) == (120, 80, 6)
    with Image.open("clean.png") as clean:
        np.testing.assert_array_equal(np.asarray(clean)[..., 3], alpha)
        assert clean.info["icc_profile"] == SRGB
        assert clean.getexif()[CAMERA] == "Pinhole"
        assert clean.getexif().get(0x0112, 1) == 1  # it is upright now
    denoised("turned.png", "--sigma", "10", "--out", "clean.jpg")
    with Image.open("clean.jpg") as clean:
        assert clean.info["icc_profile"] == SRGB
        assert clean.getexif()[CAMERA] == "Pinhole"


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 2), (33, 17)])
def test_size_never_changes(size: tuple[int, int], photo: np.ndarray, denoised) -> None:
    Image.fromarray(photo).resize(size).save("odd.png")
    for words in (["--sigma", "20"], ["--sigma", "20", "--tile", "64"], [], ["--add-noise", "5"]):
        record = denoised("odd.png", *words, "--out", "out.png", "--overwrite")
        assert (record["width"], record["height"]) == size
        assert picture("out.png").shape == (*size[::-1], 3)


def test_grey_photos_stay_grey(photo: np.ndarray, denoised) -> None:
    noisy = make_noisy(photo[..., 0], 20, "grey.png")
    denoised("grey.png", "--sigma", "20", "--out", "clean.png")
    clean = picture("clean.png")
    assert clean.shape == noisy.shape
    assert psnr(clean, photo[..., 0]) > psnr(noisy, photo[..., 0]) + 3


def test_real_numbers_are_answered_or_refused_never_nan(photo: np.ndarray, here) -> None:
    real = (photo[..., 0] / np.float32(255)).astype(np.float32)
    for scale, is_ok in ((1, True), (255, False)):
        Image.fromarray(real * np.float32(scale)).save("real.tif")
        done = here("denoise", "real.tif", "--out", "out.tif", "--overwrite")
        (record,) = records(done.stdout)
        assert record["ok"] == is_ok
        assert b"NaN" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sigma", "-1"], "a noise level from 0 to 255"),
        (["--sigma", "90"], "noise levels up to 75"),
        (["--sigma", "loud"], "give a number or auto"),
        (["--strength", "2"], "a part from 0 to 1"),
        (["--tile", "10"], "at least 64 pixels"),
        (["--tile", "64", "--tile-overlap", "40"], "half of the tile's side"),
        (["--add-noise", "300"], "a noise level from 0 to 255"),
        (["--add-noise", "5", "--sigma", "5"], "leave --sigma, --strength and --tile out"),
        (["--add-noise", "5", "--seed", "-1"], "from 0 to 4294967295"),
        (["--add-noise", "5", "--engine", "torch"], "leave --engine"),
        (["--add-noise", "5", "--model", "ffdnet_color"], "leave --model"),
        (["--add-noise", "5", "--device", "cuda"], "on the CPU"),
        (["--reference", "missing.png"], "no such file or folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors_come_before_anything_runs(arguments: list[str], words: str, photo, here, tmp_path: Path) -> None:
    done = here("denoise", "photo.png", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_reference_of_several_is_no_file(photo: np.ndarray, here) -> None:
    done = here("denoise", "photo.png", "photo.png", "--reference", "photo.png")
    assert done.returncode == 2
    assert b"name a folder for several" in done.stderr


def test_csv_columns_do_not_depend_on_the_inputs(photo: np.ndarray, here) -> None:
    make_noisy(photo, 15)
    words = ["--reference", "photo.png", "--compare", "both.png", "--overwrite", "--format", "csv"]
    good, bad = (here("denoise", name, *words).stdout.decode() for name in ("noisy.png", "missing.png"))
    assert good.splitlines()[0] == bad.splitlines()[0]
    (row,) = csv.DictReader(io.StringIO(good))
    assert float(row["psnr"]) > float(row["psnr_before"]) > 20
    assert (row["output"], row["compare"]) == ("", "both.png")
