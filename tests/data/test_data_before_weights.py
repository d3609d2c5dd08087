"""Data is looked at before weights are downloaded: a wrong path costs no 500 MB."""

import pytest

from ktransfer import FineTuner, InputError
from ktransfer.cli import main
from ktransfer.recommend import recommend_backbones
from ktransfer.tuner import UnfreezeTuner


@pytest.fixture(autouse=True)
def _no_download(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("it was downloaded")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)


@pytest.fixture
def no_images(tmp_path):
    """Two classes whose files are no images: only looking into them shows it."""
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "x.jpg").write_text("no image")
    return tmp_path / "data"


@pytest.mark.parametrize("method", ["fit", "advise", "find_learning_rate", "sweep_learning_rates"])
def test_data_is_read_before_the_weights_are_downloaded(no_images, method):
    tuner = FineTuner("MobileNetV2", alpha=0.35, verbose=False)
    with pytest.raises(InputError, match=r"data.*(no|none|not)"):
        getattr(tuner, method)(no_images)


def test_recommending_reads_the_data_first(no_images):
    with pytest.raises(InputError, match=r"data.*(no|none|not)"):
        recommend_backbones(no_images, ["MobileNetV2"], verbose=False)


def test_a_search_reads_the_data_first(no_images, tmp_path):
    tuner = UnfreezeTuner("MobileNetV2", directory=tmp_path, alpha=0.35, verbose=False)
    assert (tuner.num_blocks, tuner.space.get("unfreeze")) == (19, 0)
    with pytest.raises(InputError, match=r"data.*(no|none|not)"):
        tuner.search(no_images)


@pytest.mark.parametrize("command", ["train", "advise", "tune"])
def test_commands_read_the_data_first(no_images, tmp_path, capsys, command):
    out = [] if command == "plan" else ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main([command, str(no_images), *out])
    assert ended.value.code not in (0, None)
    said = capsys.readouterr().err
    assert "downloaded" not in said
    assert str(no_images) in said


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("mobilenetv5",), {}, "unknown backbone 'mobilenetv5': did you mean MobileNetV"),
        (("MobileNetV2",), {"alhpa": 1}, "MobileNetV2 has no option alhpa=1: did you mean alpha"),
        (("MobileNetV2",), {"input_size": 16}, r"at least 32 px, got input_size=\(16, 16\)"),
        (("MobileNetV2",), {"input_size": "big"}, "input_size must be an int or .* got 'big'"),
        (("MobileNetV2",), {"pooling": "sum"}, "unknown pooling 'sum': did you mean"),
        (
            ("MobileNetV2",),
            {"preprocessing": "tf"},
            "preprocessing='tf' is for a model of your own",
        ),
        (("hub:resnet_18",), {}, "unknown KerasHub preset 'resnet_18': did you mean resnet_18_ima"),
    ],
)
def test_what_is_wrong_with_a_name_is_said_at_once(arguments, options, message):
    if arguments[0].startswith("hub:"):
        pytest.importorskip("keras_hub")
    with pytest.raises(InputError, match=message):
        FineTuner(*arguments, **options)
