"""Which backbone: what is measured of each candidate, which one is recommended, what is refused."""

import json
import math

import keras
import numpy as np
import pytest
from conftest import small_network, write_pictures
from drawn import lines, marks, place, words

import ktransfer.recommend.candidates as candidates_module
import ktransfer.recommend.comparison as recommending_module
from ktransfer import InputError, load_backbone, recommend_backbones
from ktransfer.backbones import list_backbones
from ktransfer.data import Skipped, image_dataset, read_data
from ktransfer.errors import DownloadError
from ktransfer.features import Features
from ktransfer.profile.probes import evidence_scores, probe
from ktransfer.recommend import DEFAULTS, imagenet_top1
from ktransfer.recommend import judgement as judging_module
from ktransfer.recommend.candidates import read_candidates
from ktransfer.recommend.costs import (
    BUDGET_S,
    LEAST_RUNS,
    WARM_UPS,
    latency_ms,
    memory_mb,
    size_mb,
)
from ktransfer.recommend.judgement import decode, sampled
from ktransfer.recommend.limits import Limits
from ktransfer.recommend.picture import draw_front
from ktransfer.recommend.ranking import agreements, choose, on_front
from ktransfer.recommend.rated import RatedBackbone


def named(name, channels=6, size=16):
    network = small_network(channels, size)
    return keras.Model(network.inputs, network.outputs, name=name)


def blind(name="blind", convolutions=(-1,)):
    """A network whose last convolution sees nothing, while the first one sees colours."""
    network = named(name)
    layers = [each for each in network.layers if isinstance(each, keras.layers.Conv2D)]
    for at in convolutions:
        layers[at].set_weights([0 * each for each in layers[at].get_weights()])
    return network


def dead(name="dead"):
    return blind(name, (0, 1))


@pytest.fixture(scope="module", autouse=True)
def _quick_latency():
    """What is not about latency need not wait a second for each candidate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ktransfer.recommend.costs.BUDGET_S", 0.01)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("recommend") / "pictures", 12)


@pytest.fixture(scope="module")
def found(folder):
    """Networks of one's own, two of one name, one at another size."""
    candidates = [named("narrow", 4), named("wide", 12, 24), dead("narrow")]
    return recommend_backbones(folder, candidates, verbose=False)


def by_hand(model, folder):
    """Pooled features of the training images, by running the model as a user would."""
    backbone = load_backbone(model)
    part = read_data(folder).train
    images = np.concatenate([each.numpy() for each, _ in image_dataset(part, backbone.input_size)])
    return backbone.model.predict(images, verbose=0).mean(axis=(1, 2)), part.labels


def test_a_candidate_is_judged_as_a_probe_on_its_pooled_output(folder, found):
    features, labels = by_hand(named("wide", 12, 24), folder)
    rated = found.candidates[1]
    expected = probe(features, labels)
    assert rated.feature_sets["last"] == expected.accuracy
    assert rated.input_size == (24, 24)
    assert list(rated.feature_sets) == ["last", "all_blocks"]  # one convolution: nothing inner
    scores = evidence_scores(features, labels)
    assert rated.logme == pytest.approx(scores["logme"], rel=1e-3)
    assert rated.h_score == pytest.approx(scores["h_score"], rel=1e-3)
    low, high = rated.interval
    assert low < rated.accuracy <= high


def test_only_training_images_are_judged(folder, found):
    assert found.num_images == len(read_data(folder).train) < 36
    assert found.num_classes == 3


def test_features_of_earlier_blocks_are_taken_where_the_last_sees_nothing(folder):
    (rated,) = recommend_backbones(folder, [blind()], verbose=False).candidates
    assert rated.feature_sets["last"] < 0.6 < 0.9 < rated.accuracy
    assert rated.features == "all_blocks"
    assert rated.accuracy == rated.feature_sets["all_blocks"]


def test_wider_features_that_are_too_slow_are_left_for_the_last(folder, monkeypatch):
    def by_width(forward, input_size):
        return float(forward(np.zeros((1, *input_size, 3), np.uint8)).shape[-1])

    monkeypatch.setattr(recommending_module, "latency_ms", by_width)
    free = recommend_backbones(folder, [blind()], verbose=False).best
    assert (free.features, free.latency_ms) == ("all_blocks", 10.0)
    held = recommend_backbones(folder, [blind()], max_latency_ms=7, verbose=False).best
    assert (held.features, held.latency_ms, held.meets_limits) == ("last", 6.0, True)
    assert held.accuracy == held.feature_sets["last"]


def test_the_fastest_within_one_paired_standard_error_of_the_most_accurate_is_chosen():
    right = np.ones(100, bool)
    one_less, six_less = right.copy(), right.copy()
    one_less[:1], six_less[:6] = False, False
    assert choose([right, one_less, six_less], [3.0, 2.0, 1.0]) == 1
    assert choose([right, six_less], [3.0, 1.0]) == 0
    assert choose([right, right], [3.0, 1.0]) == 1


def test_differences_are_paired():
    # Both are right on 70 of 100: unpaired that is the same, paired 30 of 30 speak against it.
    top = np.arange(100) < 90
    worse = np.arange(100) < 70
    assert choose([top, worse], [2.0, 1.0]) == 0
    other = np.arange(100) >= 20  # right on other images, as often wrong as right of the rest
    assert choose([top, other], [2.0, 1.0]) == 0
    assert choose([top, np.arange(100) >= 13], [2.0, 1.0]) == 1


def test_the_front_holds_what_no_other_beats():
    accuracies, latencies = [0.9, 0.8, 0.9, 0.95, 0.7, 0.9], [5, 2, 5, 9, 3, 6]
    assert on_front(accuracies, latencies) == [True, True, True, True, False, False]


def test_rankings_agree_as_their_ranks_correlate():
    measured = [0.5, 0.6, 0.7, 0.8, 0.9]
    figures = {
        "same": [1, 2, 3, 4, 5],
        "reversed": [5, 4, 3, 2, 1],
        "mixed": [1, 3, 2, 5, 4],
        "known of four": [1, 2, 3, 4, None],
        "constant": [1, 1, 1, 1, 1],
    }
    agreed = agreements(measured, figures)
    assert list(agreed) == ["same", "reversed", "mixed"]
    assert (agreed["same"].spearman, agreed["same"].kendall) == pytest.approx((1, 1))
    assert (agreed["reversed"].spearman, agreed["reversed"].kendall) == pytest.approx((-1, -1))
    # Two swaps of neighbours: 8 of 10 pairs in order; 1 - 6 * (4 * 1) / (5 * 24).
    assert (agreed["mixed"].spearman, agreed["mixed"].kendall) == pytest.approx((0.8, 0.6))
    assert agreed["mixed"].num_candidates == 5


def test_size_is_that_of_the_weights_as_float32():
    backbone = load_backbone(named("network"))
    numbers = sum(np.asarray(each).size for each in backbone.model.weights)
    assert size_mb(backbone) == numbers * 4 / 2**20


def test_memory_is_weights_and_the_most_activations_alive_at_once():
    images = keras.Input((8, 8, 3))
    wide = keras.layers.Conv2D(10, 1, name="wide")(images)  # 3 + 10 numbers a position
    thin = keras.layers.Conv2D(2, 1, name="thin")(wide)
    more = keras.layers.Conv2D(4, 1, name="more")(thin)
    joined = keras.layers.Concatenate()([wide, more])  # 10 + 4 + 14 of each of 64 positions
    backbone = load_backbone(keras.Model(images, joined, name="joined"), preprocessing="none")
    weights = (3 * 10 + 10) + (10 * 2 + 2) + (2 * 4 + 4)
    assert memory_mb(backbone) == pytest.approx((weights + 64 * 28) * 4 / 2**20)
    chain = load_backbone(keras.Model(images, more, name="chain"), preprocessing="none")
    assert memory_mb(chain) == pytest.approx((weights + 64 * 13) * 4 / 2**20)


@pytest.mark.parametrize(("seconds", "runs"), [(0.03, 34), (10.0, LEAST_RUNS)])
def test_latency_is_the_median_of_a_second_after_warm_up(monkeypatch, seconds, runs):
    monkeypatch.setattr("ktransfer.recommend.costs.BUDGET_S", BUDGET_S)
    clock, calls = [0.0], []

    def forward(images):
        assert images.shape == (1, 4, 6, 3)
        calls.append(1)
        # The first one compiles, and the second that counts is quick.
        quick = len(calls) == WARM_UPS + 2
        clock[0] += 99.0 if len(calls) == 1 else seconds / 2 if quick else seconds

    monkeypatch.setattr("ktransfer.recommend.costs.time.perf_counter", lambda: clock[0])
    assert latency_ms(forward, (4, 6)) == pytest.approx(seconds * 1_000)
    assert len(calls) == WARM_UPS + runs
    assert (runs - 0.5) * seconds >= BUDGET_S


def test_limits_decide_before_the_accuracy(folder):
    networks = [dead("small"), named("large", 40)]
    sizes = [size_mb(load_backbone(each)) for each in networks]
    between = sum(sizes) / 2
    found = recommend_backbones(folder, networks, max_size_mb=between, verbose=False)
    assert found.candidates[0].accuracy < found.candidates[1].accuracy
    assert found.best.name == "small"
    assert [each.meets_limits for each in found.candidates] == [True, False]
    assert found.limits == {"max_size_mb": between}
    assert "large, over the limits" in str(found)
    assert "only one" in found.reason


def test_limits_that_nothing_meets_name_the_nearest_and_by_how_much():
    costs = {
        "a": {"latency_ms": 30.0, "size_mb": 2.0, "memory_mb": 9.0},
        "b": {"latency_ms": 12.5, "size_mb": 14.0, "memory_mb": 9.0},
    }
    with pytest.raises(InputError, match=r"meets max_latency_ms=10\. b comes nearest") as caught:
        Limits(max_latency_ms=10).check_one_meets(costs)
    assert "12.5 ms, 2.5 over max_latency_ms" in str(caught.value)
    with pytest.raises(InputError, match=r"b comes nearest: 12.5 ms, 2.5 over .*, 14 MB, 4 over"):
        Limits(max_latency_ms=10, max_size_mb=10).check_one_meets(costs)
    with pytest.raises(InputError, match=r"9 MB of memory, 1 over max_memory_mb"):
        Limits(max_memory_mb=8).check_one_meets(costs)
    # What counts is the worst excess: 20 % and five times are further away than twice.
    uneven = {
        "a": {"latency_ms": 12.0, "size_mb": 50.0, "memory_mb": 9.0},
        "b": {"latency_ms": 20.0, "size_mb": 10.0, "memory_mb": 9.0},
    }
    with pytest.raises(InputError, match=r"b comes nearest: 20 ms, 10 over max_latency_ms\. "):
        Limits(max_latency_ms=10, max_size_mb=10).check_one_meets(uneven)
    Limits(max_latency_ms=12.5).check_one_meets(costs)
    Limits().check_one_meets(costs)


def test_contradictory_limits_are_refused_before_images_are_decoded(folder, monkeypatch):
    monkeypatch.setattr(recommending_module, "decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"no candidate meets max_size_mb=0.0001. narrow comes"):
        recommend_backbones(folder, [named("narrow", 4)], max_size_mb=1e-4, verbose=False)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "10", True])
@pytest.mark.parametrize("name", ["max_latency_ms", "max_size_mb", "max_memory_mb"])
def test_a_limit_is_a_number_above_0(name, value):
    with pytest.raises(InputError, match=rf"{name} must be a number above 0, got {value!r}"):
        Limits(**{name: value})


def test_a_candidate_can_be_named_in_several_ways(tmp_path):
    file = tmp_path / "w.weights.h5"
    file.touch()
    backbone = load_backbone("MobileNetV2", weights="mini")
    network = named("mine")
    read = read_candidates(
        [
            "resnet50",
            ("MobileNetV2", {"alpha": 0.35, "weights": file}),
            {"name": "MobileNet", "weights": None, "input_size": 96, "options": {"alpha": 0.25}},
            backbone,
            network,
            {"name": network, "preprocessing": "none"},
            "hub:resnet_18_imagenet",
        ],
        "imagenet",
    )
    assert [each.name for each in read] == [
        "ResNet50", "MobileNetV2", "MobileNet", "MobileNetV2", "mine", "mine",
        "hub:resnet_18_imagenet",
    ]  # fmt: skip
    assert [each.weights for each in read] == [
        "imagenet", str(file), None, "mini", "own", "own", "imagenet",
    ]  # fmt: skip
    assert [each.options for each in read[:4]] == [
        {}, {"alpha": 0.35}, {"alpha": 0.25}, {"alpha": 0.35},
    ]  # fmt: skip
    assert read[3].load() is backbone
    assert read[2].load().input_size == (96, 96)
    assert read[4].load().weights == "own"
    labels = [each.label for each in read]
    assert len(set(labels)) == len(labels)
    assert labels[1:4] == [
        "MobileNetV2 alpha=0.35 (w.weights.h5)",
        "MobileNet alpha=0.25 input_size=96",
        "MobileNetV2 alpha=0.35 (mini)",
    ]
    assert labels[4:6] == ["mine (own) #5", "mine (own) #6"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"candidates is empty: name at least one backbone, or leave it out for MobileNet,"),
        (["resnet5"], r"unknown backbone 'resnet5': did you mean ResNet50"),
        ("ResNet50", r"candidates are a list, got 'ResNet50' alone"),
        ([7], r"a candidate is a name, .* got 7"),
        ([{"nme": "ResNet50"}], r"this dict has no key name, the nearest is 'nme'"),
        (
            [{"name": "MobileNetV2", "alpha": 1.0, "options": {"alpha": 0.35}}],
            r"'MobileNetV2': alpha is given twice",
        ),
        ([("ResNet50", {"weights": "no.h5"})], r"ResNet50: no weights file 'no.h5'"),
        ([("MobileNetV2", {"weights": None, "alfa": 1})], r"no option alfa=1: did you mean alpha"),
    ],
)
def test_candidates_that_do_not_exist_are_refused(folder, given, message):
    with pytest.raises(InputError, match=message):
        recommend_backbones(folder, given, verbose=False)


def test_a_download_that_fails_does_not_end_the_comparison(folder, monkeypatch, capsys):
    def load(source, **settings):
        if source == "ResNet50":
            try:
                raise OSError("no route to host")
            except OSError as error:
                raise DownloadError("weights could not be downloaded. Do this or that") from error
        return load_backbone(source, **settings)

    monkeypatch.setattr(candidates_module, "load_backbone", load)
    found = recommend_backbones(folder, ["ResNet50", named("mine")])
    missing, mine = found.candidates
    assert missing.status == "not available: no route to host"
    assert (missing.accuracy, missing.on_front, missing.meets_limits) == (None, False, False)
    assert found.best == mine
    assert "ResNet50: not available: no route to host" in str(found)
    assert "ResNet50: not available: no route to host" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"no candidate can be had \(ResNet50\): not avail"):
        recommend_backbones(folder, ["ResNet50"])


def test_an_unreachable_server_is_told_from_other_errors(monkeypatch):
    def unreachable(**options):
        if options["weights"] == "imagenet":
            raise Exception("URL fetch failure")
        return None

    monkeypatch.setattr(keras.applications, "ResNet50", unreachable)
    with pytest.raises(DownloadError, match=r"ResNet50 could not be downloaded \(URL fetch"):
        load_backbone("ResNet50")


def test_every_class_needs_two_images(tmp_path):
    folder = write_pictures(tmp_path / "a" / "train", 3)
    write_pictures(tmp_path / "a" / "val", 1)
    for number in (1, 2):
        (folder / "red" / f"{number:03}.png").unlink()
    with pytest.raises(InputError, match=r"class 'red' has 1 training image, and a probe needs"):
        recommend_backbones(tmp_path / "a", [named("mine")], verbose=False)


def test_images_that_cannot_be_decoded_are_named_and_too_few_refused(tmp_path):
    folder = write_pictures(tmp_path / "a" / "train", 4)
    write_pictures(tmp_path / "a" / "val", 1)
    broken = (folder / "red" / "000.png").read_bytes()
    (folder / "red" / "000.png").write_bytes(broken[: len(broken) // 2])
    found = recommend_backbones(tmp_path / "a", [named("mine")], verbose=False)
    assert found.num_images == 11
    assert [each.path for each in found.skipped] == [str(folder / "red" / "000.png")]
    for file in folder.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(InputError, match=r"of 12 only 0 of 0 can be decoded: .*000.png"):
        recommend_backbones(tmp_path / "a", [named("mine")], verbose=False)


def test_all_candidates_are_judged_on_the_same_images(folder, monkeypatch):
    part = read_data(folder).train
    extract = judging_module.extract_part

    def one_size_fails(forward, part, size, **options):
        found, kept, _ = extract(forward, part, size, **options)
        if size != (24, 24):
            return found, kept, ()
        rows = np.delete(np.arange(len(found.indices)), 3)
        failed = (Skipped("third.png", "damaged"),)
        return Features(found.values[rows], found.indices[rows]), kept, failed

    monkeypatch.setattr(judging_module, "extract_part", one_size_fails)
    pixels = decode(part, [(16, 16), (24, 24), (16, 16)])
    assert pixels.labels.tolist() == np.delete(part.labels, 3).tolist()
    (whole,) = [each.numpy() for each, _ in image_dataset(part, (16, 16), batch_size=99)]
    assert np.array_equal(pixels.by_size[16, 16], np.delete(whole, 3, axis=0))
    assert [each.path for each in pixels.skipped] == ["third.png"]


def test_of_many_images_500_are_taken_evenly_by_class():
    labels = np.repeat([0, 1], [900, 300])
    images = np.zeros((1200, 2, 2, 3), np.uint8)
    part = read_data(
        {"train": (images, labels), "validation": (images[:4], labels[-602:][:4])}
    ).train
    taken = sampled(part, ("a", "b"))
    assert np.bincount(taken.labels).tolist() == [375, 125]


def test_the_table_goes_from_fast_to_slow_and_says_how_to_read_it(found):
    text = str(found)
    assert text.startswith(f"best: {found.best.label}, features: {found.best.features}. ")
    rows = [line for line in text.splitlines() if line[0:1] == " " and line[1:2].isdigit()]
    latencies = [each.latency_ms for each in found.measured]
    assert latencies == sorted(latencies)
    assert [each.label in row for each, row in zip(found.measured, rows, strict=True)] == [True] * 3
    assert ["*" in row for row in rows] == [each.on_front for each in found.measured]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert "How well ImageNet top-1, LogME, H-score rank the candidates cannot be said" in text
    assert "memory: estimated" in text


def test_long_labels_are_cut_in_table_and_picture_and_whole_in_the_data(folder, tmp_path):
    long = "a_network_with_a_name_longer_than_any_table_has_room_for"
    found = recommend_backbones(folder, [named(long)], verbose=False)
    found.plot(tmp_path / "front.svg")
    short = "a_network_with_a_name_longer_than_a…"
    (row,) = [line for line in str(found).splitlines() if line.startswith(" 1")]
    assert (short in row, long in row) == (True, False)
    assert f"1 {short}" in words(tmp_path / "front.svg")
    assert found.to_dict()["best"]["label"] == long


def test_it_is_plain_data(found):
    data = json.loads(json.dumps(found.to_dict()))
    assert data["best"] in data["candidates"]
    first = data["candidates"][0]
    assert first["name"] == "narrow"
    wanted = {
        "name", "options", "weights", "accuracy", "interval", "features", "logme", "h_score",
        "latency_ms", "size_mb", "memory_mb", "imagenet_top1", "on_front", "meets_limits",
        "seconds", "status",
    }  # fmt: skip
    assert wanted <= first.keys()
    assert first["imagenet_top1"] is None
    assert {"scan", "load", "decode", "measure", "total"} == data["seconds"].keys()


def test_five_candidates_tell_how_rankings_agree(folder):
    networks = [dead(), *(named(f"n{channels}", channels) for channels in (2, 3, 6, 9))]
    found = recommend_backbones(folder, networks, verbose=False)
    assert found.candidates[0].accuracy < min(each.accuracy for each in found.candidates[1:])
    assert {"logme", "h_score"} == found.agreements.keys()
    assert found.agreements["logme"].num_candidates == 5
    assert "LogME and the accuracies rank 5 candidates alike by Spearman" in str(found)
    assert "How well ImageNet top-1 ranks the candidates cannot be said of fewer" in str(found)


def test_the_picture_has_a_dot_and_a_number_for_each(found, tmp_path):
    found.plot(tmp_path / "front.svg")
    picture = tmp_path / "front.svg"
    dots = marks(picture, "circle")
    assert len(dots) == 3  # one panel: nothing is published of one's own networks
    assert {"1", "2", "3", "front", "latency of one image, ms"} <= set(words(picture))
    assert {f"{at} {each.label}" for at, each in enumerate(found.measured, 1)} <= set(
        words(picture)
    )
    from_fast = sorted(place(each) for _, each in dots)
    accuracies = [each.accuracy for each in found.measured]
    assert np.argmin(accuracies) == np.argmax([y for _, y in from_fast])
    with pytest.raises(InputError, match=r"the picture 'front\.pdf' must end in \.svg or \.png"):
        found.plot("front.pdf")


def rated(label, accuracy, latency_ms, imagenet_top1=None, on_front=False):
    return RatedBackbone(
        label, label, {}, "imagenet", "measured",
        accuracy=accuracy, interval=(accuracy - 0.05, accuracy + 0.03), latency_ms=latency_ms,
        imagenet_top1=imagenet_top1, on_front=on_front,
    )  # fmt: skip


RATED = (
    rated("fast", 0.80, 10.0, 0.6, on_front=True),
    rated("<own> & slow", 0.75, 40.0),
    rated("best", 0.90, 160.0, 0.8, on_front=True),
)


def test_dots_intervals_and_front_lie_where_they_should():
    chart = draw_front(RATED[2], RATED, None)
    costs = [place(each) for _, each in marks(chart, "circle")][:3]
    assert costs[1][0] == pytest.approx((costs[0][0] + costs[2][0]) / 2)  # equal factors
    # From 70 % to 95 %, multiples of 5 around the intervals.
    assert [y for _, y in costs] == pytest.approx([310 * share for share in (0.6, 0.8, 0.2)])
    ((_, (front,)),) = lines(chart)
    assert np.array(front) == pytest.approx(np.array([costs[0], costs[2]]), abs=0.01)
    rules = [each for _, each in marks(chart, "rule")][:3]
    heights = [abs(float(each.get("y2"))) for each in rules]
    assert heights == pytest.approx([310 * 8 / 25] * 3)
    said, _ = marks(chart, "circle")[1]
    assert said == "2 <own> & slow: 75.0 % (70.0 to 78.0 %)"


def test_imagenet_has_a_panel_of_its_own_with_those_of_which_it_is_published():
    chart = draw_front(RATED[2], RATED, None)
    assert {"what it costs", "what ImageNet says"} <= set(words(chart))
    said = [each for each, _ in marks(chart, "circle")]
    assert [each.split(":")[0] for each in said[3:]] == ["1 fast", "3 best"]
    assert len(marks(chart, "rule")) == 3 + 2
    assert [words(chart).count(each) for each in "123"] == [4, 2, 4], "with a halo each"
    assert chart.figures()["backbones"][2] == [
        "2 <own> & slow", "40", "75", "70", "78", "-", "no"
    ]  # fmt: skip


def test_a_limit_is_drawn_where_it_divides_the_candidates(found):
    latencies = [each.latency_ms for each in found.measured]
    between = (latencies[0] + latencies[-1]) / 2
    for limit, drawn in ((between, True), (100 * latencies[-1], False)):
        picture = draw_front(found.best, found.measured, limit)
        assert (f"limit {limit:g} ms" in words(picture)) == drawn


def test_every_constructor_has_a_published_accuracy():
    for each in list_backbones():
        assert 0.56 < imagenet_top1(each.name) < 0.9
    assert imagenet_top1("MobileNet", {"alpha": 0.25}) == 0.506
    assert imagenet_top1("MobileNetV2", {"alpha": 1.0}) == 0.713
    assert imagenet_top1("MobileNetV2", {"alpha": 0.4}) is None
    assert imagenet_top1("MobileNetV2", {"alpha": 0.35}, (96, 96)) is None
    assert imagenet_top1("MobileNetV2", {"alpha": 0.35}, (224, 224)) == 0.603
    assert imagenet_top1("MobileNetV3Small", {"alpha": 0.75, "minimalistic": True}) is None
    assert imagenet_top1("mine") is None


def test_what_is_published_says_nothing_of_other_weights(folder, monkeypatch):
    monkeypatch.setattr(recommending_module, "imagenet_top1", lambda *_: 0.5)
    assert recommend_backbones(folder, [named("mine")], verbose=False).best.imagenet_top1 is None


def test_the_default_list_is_what_its_reasons_say():
    size = {each.name: each.parameters * 4 / 2**20 for each in list_backbones()}
    assert [each.role for each in DEFAULTS] == [
        "smallest", "smallest", "phone", "phone", "default", "default", "most accurate",
    ]  # fmt: skip
    for each in DEFAULTS:
        if not each.options:
            assert float(each.reason.split(" MB")[0]) == pytest.approx(size[each.name], abs=0.51)
    small = [imagenet_top1(name) for name, mb in size.items() if mb < 25]
    assert imagenet_top1("EfficientNetV2B0") == max(small)
    best = max(size, key=lambda name: imagenet_top1(name))
    assert imagenet_top1(best) - imagenet_top1("ConvNeXtBase") < 0.02
    assert size["ConvNeXtBase"] == pytest.approx(size[best] / 4, rel=0.02)


def test_the_smallest_defaults_have_the_size_that_is_said():
    for each in DEFAULTS[:2]:
        backbone = load_backbone(each.name, weights=None, **each.options)
        assert f"{size_mb(backbone):.1f} MB" in each.reason


@pytest.mark.slow
@pytest.mark.shared
def test_real_weights_on_real_photos(shared):
    weights = shared / "weights"
    candidates = [
        ("MobileNetV2", {"weights": weights / "mobilenetv2_1.0_224_notop.weights.h5"}),
        (
            "MobileNetV2",
            {"alpha": 0.35, "weights": weights / "mobilenetv2_0.35_224_notop.weights.h5"},
        ),
        ("MobileNet", {"alpha": 0.25, "weights": weights / "mobilenet_0.25_224_notop.weights.h5"}),
    ]
    found = recommend_backbones(shared / "data" / "ants_bees", candidates, verbose=False)
    wide, narrow, oldest = found.candidates
    # DATA.md: 0.967, 0.908 and 0.895 on the validation photos.
    assert wide.accuracy > 0.95 > narrow.accuracy > 0.87
    assert oldest.accuracy > 0.85
    assert found.best == wide
    assert [each.imagenet_top1 for each in found.candidates] == [0.713, 0.603, 0.506]
    assert oldest.latency_ms < wide.latency_ms
