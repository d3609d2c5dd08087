"""The web service that docs/serving.md shows answers as it says."""

import documents
import pytest
from fastapi.testclient import TestClient

from ktransfer import FineTuner, OnnxClassifier
from ktransfer.demo import draw_flowers

PAGE = documents.ROOT / "docs" / "serving.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an exported classifier, as the page's program expects it."""
    folder = tmp_path_factory.mktemp("service")
    photos = draw_flowers(folder / "photos", 40)
    finetuner = FineTuner("MobileNetV2", weights="mini", verbose=False)
    finetuner.fit(photos, plan="linear_probe", epochs=2, check="off")
    finetuner.export(folder / "photos.onnx")
    return folder


@pytest.fixture
def client(folder, monkeypatch):
    monkeypatch.chdir(folder)
    program = next(each for each in documents.blocks_of(PAGE) if each.language == "py")
    space = {"__name__": "serve"}
    exec(compile(program.text, "serve.py", "exec"), space)
    with TestClient(space["app"]) as client:
        yield client


@pytest.mark.slow
def test_service_says_what_the_classifier_says(client, folder):
    photo = sorted((folder / "photos").glob("*/*.jpg"))[0]
    answer = client.post("/predict", files={"photo": photo.read_bytes()})
    assert answer.status_code == 200
    alone = OnnxClassifier(folder / "photos.onnx").predict([photo], abstain_below=0.5)
    assert answer.json()["label"] == alone.labels[0]
    assert answer.json()["probability"] == pytest.approx(float(alone.probabilities.max()))


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"no image", b"", b"\xff\xd8\xff\xe0" + b"0" * 40])
def test_service_refuses_what_is_no_image(client, body):
    answer = client.post("/predict", files={"photo": ("photo.jpg", body)})
    assert answer.status_code == 400
    assert answer.json()["detail"]
