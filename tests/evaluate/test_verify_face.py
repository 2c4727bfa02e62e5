"""Figures of verification: worked out by hand, by counting, and on the pairs of LFW."""

import json
from pathlib import Path

import numpy as np
import pytest

from cnncli.errors import OutputError, UsageError
from cnncli.evaluate.roc_picture import draw_roc
from cnncli.evaluate.verify_face import (
    Calibration,
    area_under,
    best_threshold,
    calibrate,
    cross_validated,
    equal_error_rate,
    read_calibration,
    roc,
    scores_of,
    true_accept_rate,
    write_calibration,
)

# in their order: same .1, same .2, different .25, same .3, different .5, different .6, same .7, different .9
DISTANCES = [0.1, 0.2, 0.3, 0.7, 0.25, 0.5, 0.6, 0.9]
SAME = [True] * 4 + [False] * 4
VALUES, TRUTH = np.array(DISTANCES), np.array(SAME)


def many(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose kinds overlap, with ties."""
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.4
    return np.round(random.normal(np.where(same, 0.4, 0.7), 0.15), 2).clip(0.01), same


def test_figures_of_eight_pairs() -> None:
    figures = scores_of(DISTANCES, SAME, 0.3)
    assert figures == {
        "pairs": 8,
        "missed": 0,
        "threshold": 0.3,
        "accuracy": 75.0,  # .25 is accepted and .7 is not
        "false_accept_rate": 25.0,
        "false_reject_rate": 25.0,
        "best_threshold_accuracy": 75.0,
        "ten_fold_accuracy": figures["ten_fold_accuracy"],
        "AUC": 0.75,  # 4 + 4 + 3 + 1 of 16 couples are in order
        "EER": 25.0,
        "TAR_at_FAR_0.01": 50.0,
        "TAR_at_FAR_0.001": 50.0,
    }
    assert json.loads(json.dumps(figures)) == figures


def test_pairs_without_a_face_are_wrong() -> None:
    figures = scores_of([*DISTANCES, None, None], [*SAME, True, False], 0.3)
    assert (figures["pairs"], figures["missed"], figures["accuracy"]) == (10, 2, 60.0)
    plain = scores_of(DISTANCES, SAME, 0.3)
    assert {**figures, "pairs": 8, "missed": 0, "accuracy": 75.0} == plain


def test_perfect_distances() -> None:
    figures = scores_of([0.1, 0.2, 0.8, 0.9], [True, True, False, False], 0.5)
    hundred = ("accuracy", "best_threshold_accuracy", "ten_fold_accuracy", "TAR_at_FAR_0.01", "TAR_at_FAR_0.001")
    assert [figures[name] for name in hundred] == [100] * 5
    assert (figures["AUC"], figures["EER"], figures["false_accept_rate"], figures["false_reject_rate"]) == (1, 0, 0, 0)


def test_distances_the_wrong_way_round() -> None:
    figures = scores_of([0.8, 0.9, 0.1, 0.2], [True, True, False, False], 0.5)
    assert (figures["AUC"], figures["EER"], figures["accuracy"], figures["TAR_at_FAR_0.01"]) == (0, 100, 0, 0)


def test_distances_that_say_nothing() -> None:
    figures = scores_of([0.5] * 4, [True, True, False, False], 0.4)
    assert (figures["AUC"], figures["EER"], figures["accuracy"], figures["best_threshold_accuracy"]) == (
        0.5,
        50,
        50,
        50,
    )


@pytest.mark.parametrize(
    ("distances", "same", "words"),
    [
        ([0.1, 0.2], [True, True], "all of one kind"),
        ([0.1, 0.2], [False, False], "all of one kind"),
        ([0.1, None], [False, True], "all of one kind"),
        ([None, None], [False, True], "no pair could be compared"),
    ],
)
def test_rejects_pairs_that_measure_nothing(distances: list, same: list, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        scores_of(distances, same, 0.5)


def test_curve_of_eight_pairs() -> None:
    curve = roc(VALUES, TRUTH)
    np.testing.assert_array_equal(curve.thresholds, [-np.inf, 0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 0.7, 0.9])
    np.testing.assert_array_equal(curve.false_rates, [0, 0, 0, 0.25, 0.25, 0.5, 0.75, 0.75, 1])
    np.testing.assert_array_equal(curve.true_rates, [0, 0.25, 0.5, 0.5, 0.75, 0.75, 0.75, 1, 1])


def test_equal_distances_are_one_point() -> None:
    curve = roc(np.array([0.5, 0.5, 0.5, 0.8]), np.array([True, False, True, False]))
    np.testing.assert_array_equal(curve.thresholds, [-np.inf, 0.5, 0.8])
    np.testing.assert_array_equal(curve.false_rates, [0, 0.5, 1])
    np.testing.assert_array_equal(curve.true_rates, [0, 1, 1])


@pytest.mark.parametrize("seed", range(4))
def test_curve_counts_accepted_pairs(seed: int) -> None:
    distances, same = many(seed)
    curve = roc(distances, same)
    for threshold, false, true in zip(curve.thresholds, curve.false_rates, curve.true_rates, strict=True):
        accepted = distances <= threshold
        assert false == np.mean(accepted[~same])
        assert true == np.mean(accepted[same])


@pytest.mark.parametrize("seed", range(4))
def test_area_counts_couples_and_is_that_under_the_curve(seed: int) -> None:
    distances, same = many(seed)
    couples = [np.sign(far - near) for near in distances[same] for far in distances[~same]]
    assert area_under(distances, same) == pytest.approx((np.mean(couples) + 1) / 2)
    curve = roc(distances, same)
    steps, heights = np.diff(curve.false_rates), (curve.true_rates[1:] + curve.true_rates[:-1]) / 2
    assert area_under(distances, same) == pytest.approx((steps * heights).sum())


def test_equal_error_lies_between_two_points() -> None:
    """False accepts 0 to 1/2 while false rejects fall from 1/3 to 0: they meet at 1/5."""
    curve = roc(np.array([0.1, 0.2, 0.3, 0.3, 0.9]), np.array([True, True, True, False, False]))
    assert equal_error_rate(curve) == pytest.approx(0.2)


@pytest.mark.parametrize("seed", range(4))
def test_equal_error_is_equal(seed: int) -> None:
    curve = roc(*many(seed))
    rate = equal_error_rate(curve)
    rejected = 1 - np.interp(rate, curve.false_rates, curve.true_rates)
    low, high = (
        1 - curve.true_rates[curve.false_rates >= rate][0],
        1 - curve.true_rates[curve.false_rates <= rate][-1],
    )
    assert low - 1e-9 <= rate <= high + 1e-9 or rejected == pytest.approx(rate)


@pytest.mark.parametrize(("rate", "expected"), [(0, 0.5), (0.2, 0.5), (0.25, 0.75), (0.74, 0.75), (0.75, 1), (1, 1)])
def test_true_accepts_at_false_ones(rate: float, expected: float) -> None:
    assert true_accept_rate(roc(VALUES, TRUTH), rate) == expected


def test_best_threshold_of_eight_pairs() -> None:
    """6 of 8 are right after .2, and after .3: the first counts."""
    assert best_threshold(VALUES, TRUTH) == (pytest.approx(0.225), 0.75)


@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_is_better_than_the_best(seed: int) -> None:
    distances, same = many(seed)
    threshold, accuracy = best_threshold(distances, same)
    assert ((distances <= threshold) == same).mean() == accuracy
    assert all(((distances <= other) == same).mean() <= accuracy for other in np.arange(-0.1, 1.5, 0.005))


def test_best_threshold_may_accept_nobody() -> None:
    threshold, accuracy = best_threshold(np.array([0.9, 0.1, 0.2]), np.array([True, False, False]))
    assert accuracy == pytest.approx(2 / 3)
    assert threshold < 0.1


def test_learns_thresholds_on_the_other_tenths() -> None:
    """The one pair that is odd is judged without having been seen: a threshold half way of .1 and .9."""
    distances = np.array([0.1] * 10 + [0.9] * 10)
    same = distances < 0.5
    assert cross_validated(distances, same) == 1
    distances[3] = 0.8
    assert best_threshold(distances, same)[1] == 1
    assert cross_validated(distances, same) == 0.95


@pytest.mark.parametrize("same", [[True, False, False], [True, True, True, False]])
def test_learns_nothing_without_pairs_of_both_kinds(same: list[bool]) -> None:
    assert cross_validated(np.linspace(0, 1, len(same)), np.array(same)) is None
    assert scores_of(list(np.linspace(0, 1, len(same))), same, 0.5)["ten_fold_accuracy"] is None


def test_calibrates_for_a_rate_of_false_accepts() -> None:
    """Of ten different pairs the two nearest may be accepted (.1, .2); .22 is of the same person, .3 is not."""
    distances = [n / 10 for n in range(1, 11)] + [0.05, 0.15, 0.22, 0.55]
    same = [False] * 10 + [True] * 4
    found = calibrate(distances, same, 0.2, "sface", "cosine")
    assert found == Calibration(pytest.approx(0.26), "sface", "cosine", 0.2, 0.75, 14, 10)
    assert calibrate([*distances, None], [*same, True], 0.29, "sface", "cosine") == found
    assert calibrate(distances, same, 0, "sface", "cosine").threshold == pytest.approx(0.075)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [0, 0.01, 0.1, 0.5])
def test_calibrated_thresholds_keep_the_rate(seed: int, rate: float) -> None:
    distances, same = many(seed)
    distances[np.flatnonzero(same)[0]] = 0.001
    found = calibrate(list(distances), list(same), rate, "sface", "cosine")
    accepted = distances <= found.threshold
    assert np.mean(accepted[~same]) == found.false_accept_rate <= rate
    assert np.mean(accepted[same]) == found.true_accept_rate


def test_rejects_a_rate_that_no_threshold_keeps() -> None:
    with pytest.raises(UsageError, match=r"--calibrate 0\.01: no threshold"):
        calibrate([0.1, 0.2], [False, True], 0.01, "sface", "cosine")


def test_a_calibration_comes_back(tmp_path: Path) -> None:
    written = Calibration(0.61234, "sface", "cosine", 0.001, 0.97, 600, 300)
    write_calibration(tmp_path / "threshold.json", written)
    assert read_calibration(tmp_path / "threshold.json") == written


GOOD = {
    "kind": "cnncli verify-face threshold", "threshold": 0.5, "model": "sface", "metric": "cosine",
    "false_accept_rate": 0.1, "true_accept_rate": 0.9, "pairs": 9,
}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"0.5",
        b"[1]",
        b"\xff\xfe",
        json.dumps({**GOOD, "kind": "other"}).encode(),
        json.dumps({**GOOD, "threshold": "0.5"}).encode(),
        json.dumps({**GOOD, "threshold": -1}).encode(),
        json.dumps({**GOOD, "threshold": float("nan")}).encode(),
        json.dumps({**GOOD, "metric": "angle"}).encode(),
        json.dumps({**GOOD, "metric": ["cosine"]}).encode(),
        json.dumps({**GOOD, "more": 1}).encode(),
        json.dumps({key: value for key, value in GOOD.items() if key != "model"}).encode(),
    ],
)
def test_rejects_files_that_are_no_calibration(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "threshold.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"--threshold @.*threshold\.json: "):
        read_calibration(tmp_path / "threshold.json")


def test_explains_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--threshold @"):
        read_calibration(tmp_path / "gone.json")
    with pytest.raises(OutputError, match="can't be written"):
        write_calibration(tmp_path / "gone" / "threshold.json", Calibration(0.5, "m", "cosine", 0, 1, 2, 1))


def test_draws_the_curve_at_its_rates() -> None:
    """30 % of the same where a tenth of the others is accepted, all of them before the rest of the others are."""
    same, different = np.linspace(0.1, 0.9, 100), np.concatenate([np.full(10, 0.335), np.full(90, 0.95)])
    curve = roc(np.concatenate([same, different]), np.arange(200) < 100)
    picture = draw_roc(curve, "a title").astype(int)
    line = np.abs(picture - (0, 114, 178)).sum(axis=2) < 30
    columns = {0.1: 90 + 600 * 3 / 4, 1: 690}
    height = {0.3: 480 - 396 * 0.3, 1: 84}
    assert line[round(height[0.3]), round(columns[0.1]) - 40]
    assert line[round(height[1]), round(columns[1]) - 40]
    assert not line[round(height[1]), round(columns[0.1]) - 40]


@pytest.mark.parametrize(("least", "labels"), [(0.3, "0"), (0.95, "0.9")])
def test_axis_begins_below_the_curve(least: float, labels: str) -> None:
    """A good curve fills the picture: its lowest point after the start lies in the upper part of a finer axis."""
    count = round(least * 100)
    distances = np.concatenate([np.full(count, 0.1), np.full(100 - count, 0.6), np.full(100, 0.5)])
    picture = draw_roc(roc(distances, np.arange(200) < 100), labels).astype(int)
    line = np.abs(picture - (0, 114, 178)).sum(axis=2) < 30
    rows = np.flatnonzero(line[:, 300])
    low = float(labels)
    assert rows.mean() == pytest.approx(480 - 396 * (least - low) / (1 - low), abs=2)


# What the models give in their own runtimes on these pairs: accuracy, false accepts and rejects in percent, AUC
LFW = {"sface": (99.0, 0.0, 2.0, 0.99960), "dlib_resnet29": (98.5, 0.0, 3.0, 0.99910)}


@pytest.mark.parametrize("model", LFW)
def test_is_as_right_as_its_source(model: str, data_set, here) -> None:
    done = here("eval", "verify-face", data_set("lfw") / "pairs.csv", "--model", model, "--json")
    figures = json.loads(done.stdout)
    accuracy, false_accepts, false_rejects, area = LFW[model]
    assert (figures["pairs"], figures["missed"], done.returncode) == (600, 0, 0)
    assert figures["accuracy"] == pytest.approx(accuracy, abs=0.5)
    assert figures["false_accept_rate"] == pytest.approx(false_accepts, abs=0.5)
    assert figures["false_reject_rate"] == pytest.approx(false_rejects, abs=1)
    assert figures["AUC"] == pytest.approx(area, abs=0.0005)
