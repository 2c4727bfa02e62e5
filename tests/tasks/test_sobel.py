"""The sobel task: OpenCV's numbers in every kind of pixels, on either engine, and what is written of them."""

import cv2
import numpy as np
import pytest
from PIL import Image

from cnncli.errors import UsageError
from cnncli.imaging.filters import BORDERS, KERNELS, QUANTITIES, derivatives, displayed
from cnncli.io.images import Photo
from cnncli.io.pictures import encode
from cnncli.results.sobel import Gradient
from cnncli.tasks.base import Request
from cnncli.tasks.sobel import Sobel, SobelOptions, fixed_weights
from tests.conftest import PHOTOS
from tests.io.pictures import reopened
from tests.tasks.driving import finish

COLOUR = np.asarray(Image.open(PHOTOS / "chelsea.png").convert("RGB"))
GREY = cv2.cvtColor(COLOUR, cv2.COLOR_RGB2GRAY)
TYPES = {"uint8": 1, "uint16": 257, "int32": 1000, "float32": 1 / 255, "float64": 1 / 255}
NEVER = {"gx": None, "gy": None}


def image_of(kind: str, grey: bool) -> np.ndarray:
    return ((GREY if grey else COLOUR) * np.float64(TYPES[kind])).astype(kind)


def edges(image: np.ndarray, **options) -> Gradient:
    found, requests = finish(Sobel({}, SobelOptions(**options)).analyse(image), lambda request: NEVER)
    assert not requests
    return found


def opencv(image: np.ndarray, size: int = 3) -> tuple[np.ndarray, np.ndarray]:
    gx, gy = (cv2.Sobel(image.astype(np.float64), cv2.CV_64F, x, y, ksize=size) for x, y in ((1, 0), (0, 1)))
    return gx, gy


@pytest.mark.parametrize("kind", TYPES)
def test_matches_opencv_for_every_kind_of_pixels(kind: str) -> None:
    image = image_of(kind, grey=True)
    gx, gy = opencv(image)
    slack = 1e-6 * float(np.abs(gx).max())
    for quantity, expected in (("gx", gx), ("gy", gy), ("magnitude", np.hypot(gx, gy)), ("abs", abs(gx) + abs(gy))):
        found = edges(image, gradient=quantity)
        np.testing.assert_allclose(found.values, expected, atol=slack)
        numbers = found.least, found.most, found.mean
        assert numbers == pytest.approx((expected.min(), expected.max(), expected.mean()), abs=slack)


@pytest.mark.parametrize("kind", TYPES)
def test_colours_become_luma(kind: str) -> None:
    image = image_of(kind, grey=False)
    luma = image.astype(np.float64) @ [0.299, 0.587, 0.114]
    whole = kind in ("uint8", "uint16")
    gx, _ = opencv(np.rint(luma) if whole else luma)
    slack = 8 if whole else 1e-5 * np.abs(gx).max()  # OpenCV's luma of whole numbers may be off by one
    assert np.abs(edges(image, gradient="gx").values - gx).max() <= slack


def test_channels_apart_and_the_strongest_of_them() -> None:
    each = edges(COLOUR, channels="per-channel")
    assert each.values.shape == COLOUR.shape
    for channel in range(3):
        np.testing.assert_allclose(each.values[..., channel], np.hypot(*opencv(COLOUR[..., channel])), rtol=1e-6)
    strongest = edges(COLOUR, channels="max-channel")
    np.testing.assert_allclose(strongest.values, each.values.max(axis=2), rtol=1e-6)


@pytest.mark.parametrize("channels", ["gray", "per-channel", "max-channel"])
def test_grey_has_one_channel_whatever_is_asked(channels: str) -> None:
    np.testing.assert_array_equal(edges(GREY, channels=channels).values, edges(GREY).values)


def test_smooths_before() -> None:
    blurred = cv2.GaussianBlur(GREY, (0, 0), 1.5)
    np.testing.assert_array_equal(edges(GREY, blur=1.5).values, edges(blurred).values)


@pytest.mark.parametrize("channels", ["gray", "per-channel", "max-channel"])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_network_of_the_same_weights_says_the_same(kernel: str, border: str, channels: str) -> None:
    image = COLOUR[:40, :50]

    def network(request: Request) -> dict[str, np.ndarray]:
        """What a convolution without padding gives."""
        margin = (request.array.shape[0] - 40) // 2
        gx, gy = derivatives(request.array, kernel, "constant")
        return {"gx": gx[margin:-margin, margin:-margin], "gy": gy[margin:-margin, margin:-margin]}

    options = SobelOptions(kernel=kernel, border=border, channels=channels)
    model = fixed_weights(options).info
    on_device, requests = finish(Sobel({"sobel": model}, options).analyse(image), network)
    assert [request.model for request in requests] == ["sobel"]
    np.testing.assert_array_equal(on_device.values, finish(Sobel({}, options).analyse(image), network)[0].values)


def test_threshold_parts_in_black_and_white() -> None:
    magnitude = edges(GREY).values
    found = edges(GREY, threshold=100.0)
    np.testing.assert_array_equal(found.values, np.where(magnitude >= 100, 255, 0))
    assert found.values.dtype == np.uint8


def test_automatic_threshold_is_otsus() -> None:
    magnitude = edges(GREY).values
    levels = np.rint(magnitude * (255 / magnitude.max())).astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    np.testing.assert_array_equal(edges(GREY, threshold="auto").values > 0, levels > level)


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("value", [0, 255])
def test_an_even_picture_has_no_edges(quantity: str, value: int) -> None:
    even = np.full((20, 30), value, np.uint8)
    assert not edges(even, gradient=quantity).values.any()
    if quantity != "angle":
        assert not edges(even, gradient=quantity, threshold="auto").values.any()


def test_thin_lines_are_crests() -> None:
    step = np.zeros((20, 30), np.uint8)
    step[:, 15:] = 100
    found = edges(step, thin=True).values
    assert np.count_nonzero(found[10]) == 1 and found.max() == 400
    assert set(np.unique(found)) == {0, 400}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (2, 2)])
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_takes_any_shape(height: int, width: int, quantity: str, kernel: str) -> None:
    for image in (COLOUR[:height, :width], GREY[:height, :width]):
        sobel = Sobel({}, SobelOptions(gradient=quantity, kernel=kernel, channels="per-channel", thin=True))
        found, _ = finish(sobel.analyse(image), lambda request: NEVER)
        assert found.values.shape == image.shape
        assert sobel.draw(Photo(image), found, ".png").pixels.shape[:2] == (height, width)


def drawn(image: np.ndarray, suffix: str, **options) -> np.ndarray:
    sobel = Sobel({}, SobelOptions(**options))
    found, _ = finish(sobel.analyse(image), lambda request: NEVER)
    return sobel.draw(Photo(image), found, suffix).pixels


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_files_of_numbers_hold_the_numbers(quantity: str, suffix: str) -> None:
    np.testing.assert_array_equal(drawn(GREY, suffix, gradient=quantity), edges(GREY, gradient=quantity).values)


@pytest.mark.parametrize("kind", TYPES)
def test_pictures_show_them_alike_at_any_depth(kind: str) -> None:
    """For 8 bits a magnitude is what OpenCV's convertScaleAbs makes of it."""
    shown = drawn(image_of(kind, grey=True), ".png")
    assert shown.dtype == np.uint8
    expected = cv2.convertScaleAbs(np.hypot(*opencv(GREY)))
    if kind == "int32":  # of no known white: the largest value of the picture
        expected = cv2.convertScaleAbs(np.hypot(*opencv(GREY)), alpha=255 / GREY.max())
    assert np.abs(shown.astype(int) - expected).max() <= 1


def test_signed_values_rise_from_mid_grey() -> None:
    shown = drawn(GREY, ".png", gradient="gx")
    gx = opencv(GREY)[0]
    np.testing.assert_array_equal(shown, displayed(edges(GREY, gradient="gx").values, "gx", "3", 255))
    assert (shown[gx == 0] == 128).all() and (shown[gx > 4] > 128).all() and (shown[gx < -4] < 128).all()


@pytest.mark.parametrize(("quantity", "darkest"), [("magnitude", 0), ("gx", 1)])
def test_stretched_over_the_range_of_the_values(quantity: str, darkest: int) -> None:
    faint = (GREY // 10).astype(np.uint8)
    shown = drawn(faint, ".png", gradient=quantity, stretch=True)
    values = edges(faint, gradient=quantity).values
    assert shown.max() == 255 or shown.min() == darkest
    most = np.abs(values).max()
    scaled = values * 127 / most + 128 if quantity == "gx" else values * 255 / most
    assert np.abs(shown - scaled).max() <= 0.51


@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_angles_are_hues(image: np.ndarray) -> None:
    shown = drawn(image, ".png", gradient="angle", channels="per-channel")
    assert shown.shape == (*image.shape[:2], 3) and shown.dtype == np.uint8
    ramp = np.broadcast_to(np.arange(0, 200, 10, dtype=np.uint8), (20, 20))
    red, green, blue = drawn(np.ascontiguousarray(ramp), ".png", gradient="angle")[10, 10]
    assert red > 50 and green == blue == 0  # brighter to the right: 0 degrees


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".npy", ".gif", ".ppm"])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_quantity_goes_into_every_format(quantity: str, suffix: str) -> None:
    sobel = Sobel({}, SobelOptions(gradient=quantity))
    assert suffix in sobel.picture_endings
    for image in (COLOUR[:20, :30], image_of("float32", grey=True)[:20, :30]):
        found, _ = finish(sobel.analyse(image), lambda request: NEVER)
        content = encode(sobel.draw(Photo(image), found, suffix), suffix)
        assert suffix in (".npy", ".tif") or reopened(content).size == (30, 20)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gradient": "slope"}, "--gradient slope: choose gx"),
        ({"kernel": "4"}, "--kernel 4"),
        ({"border": "none"}, "--border none"),
        ({"channels": "red"}, "--channels red"),
        ({"blur": -1.0}, "--blur -1"),
        ({"blur": float("nan")}, "--blur nan"),
        ({"threshold": 0.0}, "--threshold 0"),
        ({"threshold": float("nan")}, "--threshold nan"),
        ({"threshold": "some"}, "--threshold some"),
        ({"gradient": "angle", "threshold": 5.0}, "--threshold is for the size"),
    ],
)
def test_rejects_options_out_of_range(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SobelOptions(**options)


def test_record_and_release() -> None:
    found = edges(GREY)
    assert list(found.as_dict()) == ["output", "min", "max", "mean"]
    released = Sobel({}, SobelOptions()).release(found)
    assert released.values is None and released.as_dict() == found.as_dict()
    assert SobelOptions().roles == ()
