"""Records of the ways of looking: each as its schema says, for every kind of model that has an answer to explain."""

import jsonschema
import pytest

from cnncli.catalog import EXPLANATIONS, MODELS
from cnncli.results.schema import schema
from tests.conftest import records

NEEDED = {"activations": ("--layer", "2"), "deconv": ("--layer", "2")}
SMALL = {
    "occlusion": ("--patch", "64", "--step", "64"),
    "saliency": ("--method", "gradient"),
    "shift": ("--range", "1"),
}
QUICK = ("efficientnet_lite0", "efficientdet_lite0", "deeplabv3_mobilenetv2", "yunet", "sface")


@pytest.mark.parametrize("way", EXPLANATIONS)
def test_records_fit_their_schema(way: str, here, photos, tmp_path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    options = (*NEEDED.get(way, ()), *SMALL.get(way, ()), "-m", "efficientnet_lite0", "--threads", "1")
    done = here("explain", way, photos / "coffee.png", "broken.jpg", *options, "--out-dir", "pictures")
    assert done.returncode == 1, done.stderr
    whole, failed = records(done.stdout)
    assert (whole["ok"], failed["ok"], failed["explanation"]) == (True, False, None)
    jsonschema.Draft202012Validator.check_schema(schema(f"explain-{way}"))
    for record in (whole, failed):
        jsonschema.validate(record, schema(f"explain-{way}"))
    assert (tmp_path / whole["output"]).stat().st_size > 5000


@pytest.mark.parametrize("model", QUICK)
@pytest.mark.parametrize("way", ["cam", "saliency", "activations", "deconv"])
def test_every_kind_of_model_is_explained(way: str, model: str, here, photos) -> None:
    options = (*NEEDED.get(way, ()), *SMALL.get(way, ()), "-m", model, "--threads", "1")
    done = here("explain", way, photos / "astronaut.png", *options)
    assert done.returncode == 0, done.stderr
    (record,) = records(done.stdout)
    jsonschema.validate(record, schema(f"explain-{way}"))
    assert record["model"] == model in MODELS


def test_a_picture_has_no_score_to_explain(here, photos) -> None:
    done = here("explain", "cam", photos / "rocket.jpg", "-m", "ffdnet_color")
    assert done.returncode == 2
    assert b"which no score stands for; use filters, activations or dream" in done.stderr


def test_schemas_are_printed(here) -> None:
    assert b'"cnncli.explain-cam/1"' in here("schema", "explain-cam").stdout
    done = here("schema", "explain-magic")
    assert done.returncode == 2
    assert b"choose from classify" in done.stderr
