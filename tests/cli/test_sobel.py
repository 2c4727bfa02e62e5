"""`cnncli sobel` as a user calls it: every option against OpenCV's own filters, and what it refuses."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.conftest import PHOTOS, records

CAT = PHOTOS / "chelsea.png"
KERNELS = {"3": 3, "5": 5, "7": 7, "scharr": cv2.FILTER_SCHARR}
BORDERS = {
    "reflect101": cv2.BORDER_REFLECT_101,
    "reflect": cv2.BORDER_REFLECT,
    "replicate": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
}


@pytest.fixture
def grey(crops: Path, tmp_path: Path) -> np.ndarray:
    """A grey photo, 120 x 80 px, in grey.png."""
    pixels = cv2.imread(str(crops / "chelsea.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "grey.png"), pixels)
    return pixels


def derivatives(image: np.ndarray, kernel: str = "3", border: str = "reflect101") -> tuple[np.ndarray, np.ndarray]:
    """gx and gy by OpenCV in float64."""
    options = {"ksize": KERNELS[kernel], "borderType": BORDERS[border]}
    return cv2.Sobel(image, cv2.CV_64F, 1, 0, **options), cv2.Sobel(image, cv2.CV_64F, 0, 1, **options)


def values(here, *arguments: str) -> np.ndarray:
    """What `sobel` writes as numbers."""
    done = here("sobel", *arguments, "--out", "out.npy", "--overwrite")
    assert (done.returncode, done.stderr) == (0, b"")
    found = np.load("out.npy")
    (record,) = records(done.stdout)
    assert (record["model"], record["weights_sha256"], record["device"]) == (None, None, "cpu")
    figures = [found.min(), found.max(), found.mean(dtype=np.float64)]
    assert [record["min"], record["max"], record["mean"]] == pytest.approx(figures, abs=1e-6)
    return found


def shown(here, *arguments: str) -> np.ndarray:
    """What `sobel` shows as a picture."""
    done = here("sobel", *arguments, "--out", "out.png", "--overwrite")
    assert (done.returncode, done.stderr) == (0, b"")
    return cv2.imread("out.png", cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("engine", ["opencv", "torch"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_match_opencv(kernel: str, engine: str, grey: np.ndarray, here) -> None:
    gx, gy = derivatives(grey, kernel)
    for name, expected in (("gx", gx), ("gy", gy)):
        found = values(here, "grey.png", "--gradient", name, "--kernel", kernel, "--engine", engine)
        assert found.dtype.kind == "i"
        assert found.min() < 0
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("engine", ["opencv", "torch"])
@pytest.mark.parametrize("border", [*BORDERS, "wrap"])
def test_borders_match_opencv(border: str, engine: str, grey: np.ndarray, here) -> None:
    if border == "wrap":  # OpenCV filters no such border: the photo is repeated around itself
        gx = derivatives(np.tile(grey, (3, 3)))[0][80:160, 120:240]
    else:
        gx = derivatives(grey, "3", border)[0]
    np.testing.assert_array_equal(values(here, "grey.png", "-g", "gx", "--border", border, "--engine", engine), gx)


@pytest.mark.parametrize(
    ("quantity", "formula"),
    [
        ("magnitude", np.hypot),
        ("angle", lambda gx, gy: np.degrees(np.arctan2(gy, gx + 0.0))),
        ("sum", np.add),
        ("mean", lambda gx, gy: (gx + gy) / 2),
        ("abs", lambda gx, gy: np.abs(gx) + np.abs(gy)),
    ],
)
def test_quantities_are_those_of_their_formulas(quantity: str, formula, grey: np.ndarray, here) -> None:
    found = values(here, "grey.png", "--gradient", quantity)
    np.testing.assert_allclose(found, formula(*derivatives(grey)), rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(np.abs(found) == 0, formula(*derivatives(grey)) == 0)


def test_channels(crops: Path, here) -> None:
    colours = cv2.imread(str(crops / "coffee.png"))
    photo = str(crops / "coffee.png")
    gray = derivatives(cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY))[0]
    np.testing.assert_array_equal(values(here, photo, "-g", "gx"), gray)
    np.testing.assert_array_equal(values(here, photo, "-g", "gx", "--gray"), gray)
    gx, gy = derivatives(colours)
    np.testing.assert_array_equal(values(here, photo, "-g", "gx", "--per-channel"), gx[..., ::-1])
    strongest = values(here, photo, "--max-channel")
    np.testing.assert_allclose(strongest, np.hypot(gx, gy).max(axis=2), rtol=1e-6)


def test_blur_comes_first(grey: np.ndarray, here) -> None:
    blurred = cv2.GaussianBlur(grey, (0, 0), 1.5)
    np.testing.assert_array_equal(values(here, "grey.png", "--blur", "1.5", "-g", "gy"), derivatives(blurred)[1])


def test_threshold_parts_black_and_white(grey: np.ndarray, here) -> None:
    magnitude = np.hypot(*derivatives(grey))
    expected = np.where(magnitude >= 100.5, 255, 0)
    np.testing.assert_array_equal(shown(here, "grey.png", "--threshold", "100.5"), expected)
    np.testing.assert_array_equal(values(here, "grey.png", "--threshold", "100.5"), expected)
    gx = derivatives(grey)[0]
    found = shown(here, "grey.png", "-g", "gx", "--threshold", "40")
    np.testing.assert_array_equal(found, np.where(np.abs(gx) >= 40, 255, 0))


def test_automatic_threshold_is_that_of_otsu(grey: np.ndarray, here) -> None:
    magnitude = np.hypot(*derivatives(grey))
    steps = cv2.convertScaleAbs(magnitude, alpha=255 / magnitude.max())
    _, expected = cv2.threshold(steps, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    assert (shown(here, "grey.png", "--threshold", "auto") != expected).mean() < 1e-3  # values that round to a half
    Image.new("L", (9, 9), 80).save("flat.png")
    assert not shown(here, "flat.png", "--threshold", "auto").any()


def test_thin_edges_are_those_of_canny(grey: np.ndarray, here) -> None:
    gx, gy = (values.astype(np.int16) for values in derivatives(grey))
    canny = cv2.Canny(gx, gy, 0, 0, L2gradient=True)
    thinned = values(here, "grey.png", "--thin")
    inner = slice(1, -1)  # OpenCV's Canny mirrors what lies beyond the edge
    assert ((thinned > 0) != (canny > 0))[inner, inner].mean() < 0.01
    magnitude = np.hypot(gx, gy)
    kept = thinned > 0
    assert 0.05 < kept.mean() < 0.5
    np.testing.assert_allclose(thinned[kept], magnitude[kept], rtol=1e-6)


def test_pictures_have_a_fixed_scale(grey: np.ndarray, here) -> None:
    """A step from black to white has a gradient of 4 * 255; a quarter of it is white."""
    magnitude, gx = np.hypot(*derivatives(grey)), derivatives(grey)[0]
    picture = shown(here, "grey.png").astype(float)
    assert np.abs(picture - np.clip(magnitude, 0, 255)).max() <= 0.5 + 1e-4
    picture = shown(here, "grey.png", "-g", "gx").astype(float)
    assert np.abs(picture - np.clip(128 + gx / 2, 0, 255)).max() <= 0.5


def test_stretch_makes_the_largest_white(grey: np.ndarray, here) -> None:
    magnitude = np.hypot(*derivatives(grey))
    picture = shown(here, "grey.png", "--stretch")
    assert picture.max() == 255
    assert np.abs(picture - magnitude * 255 / magnitude.max()).max() <= 0.5 + 1e-3
    gx = derivatives(grey)[0]
    picture = shown(here, "grey.png", "--stretch", "-g", "gx")
    assert np.abs(picture - (128 + gx * 127 / np.abs(gx).max())).max() <= 0.5 + 1e-3


def test_angles_are_shown_as_hues(here) -> None:
    """Brighter to the right: 0 degrees, red. Brighter downwards: 90 degrees, yellow and green in equal parts."""
    for axis, hue in ((1, 0), (0, 90), (None, None)):
        ramp = np.broadcast_to(np.arange(60, dtype=np.uint8) * 4, (60, 60))
        pixels = np.full((60, 60), 9, np.uint8) if axis is None else np.ascontiguousarray(ramp if axis else ramp.T)
        cv2.imwrite("ramp.png", pixels)
        colour = shown(here, "ramp.png", "-g", "angle")[30, 30]
        if axis is None:
            assert not colour.any()  # where there is no gradient there is no direction: black
            continue
        blue, green, red = (int(level) for level in colour)
        expected = cv2.cvtColor(np.float32([[[hue, 1, 32 / 255]]]), cv2.COLOR_HSV2RGB)[0, 0] * 255
        assert (red, green, blue) == pytest.approx(expected, abs=1)


def test_numbers_in_tiff_are_whole_and_signed(grey: np.ndarray, here) -> None:
    import tifffile

    for quantity, kernel in (("gx", "3"), ("magnitude", "7")):
        expected = values(here, "grey.png", "-g", quantity, "--kernel", kernel)
        assert here("sobel", "grey.png", "-g", quantity, "--kernel", kernel, "--out", f"{quantity}.tif").returncode == 0
        found = tifffile.imread(f"{quantity}.tif")
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_deep_photos_keep_their_depth(grey: np.ndarray, here) -> None:
    deep = grey.astype(np.uint16) * 257
    cv2.imwrite("deep.png", deep)
    for kernel in ("3", "7"):
        found = values(here, "deep.png", "-g", "gx", "--kernel", kernel)
        np.testing.assert_array_equal(found, derivatives(deep, kernel)[0])
    np.testing.assert_array_equal(shown(here, "deep.png"), shown(here, "grey.png"))


def test_real_numbers_stay_real(grey: np.ndarray, here) -> None:
    real = (grey / np.float32(255)).astype(np.float32)
    Image.fromarray(real).save("real.tif")
    np.testing.assert_allclose(values(here, "real.tif", "-g", "gx"), derivatives(real)[0], atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (3, 2)])
@pytest.mark.parametrize("border", ["reflect101", "constant", "wrap"])
def test_tiny_photos_match_between_engines(size: tuple[int, int], border: str, here) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    cv2.imwrite("tiny.png", pixels)
    words = ("tiny.png", "--border", border, "--kernel", "7", "--per-channel")
    found = values(here, *words)
    assert found.shape == pixels.shape
    np.testing.assert_array_equal(values(here, *words, "--engine", "torch"), found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gradient", "size"], "choose gx, gy, magnitude"),
        (["--kernel", "4"], "choose 3, 5, 7, scharr"),
        (["--border", "mirror"], "choose constant, replicate"),
        (["--gray", "--max-channel"], "--gray and --max-channel contradict"),
        (["--blur", "-1"], "a sigma from 0 to 100"),
        (["--threshold", "0"], "a value above 0"),
        (["--threshold", "high"], "give a number or auto"),
        (["--threshold", "nan"], "give a number or auto"),
        (["--gradient", "angle", "--threshold", "5"], "not its angle"),
        (["--engine", "onnx"], "choose auto, opencv or torch"),
        (["--engine", "opencv", "--device", "cuda"], "OpenCV runs on the CPU"),
        (["--device", "mps"], "use --device cpu"),
        (["--model", "efficientnet_lite2"], "No such option"),
        (["--precision", "fp16"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors_come_before_anything_runs(arguments: list[str], words: str, here, tmp_path: Path) -> None:
    done = here("sobel", CAT, *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_settings_file_holds_its_options(grey: np.ndarray, here, tmp_path: Path) -> None:
    (tmp_path / "cnncli.toml").write_text('[sobel]\ngradient = "gy"\nkernel = "5"\n')
    np.testing.assert_array_equal(values(here, "grey.png"), derivatives(grey, "5")[1])
    np.testing.assert_array_equal(values(here, "grey.png", "--kernel", "3"), derivatives(grey)[1])
