"""Images without TensorFlow: the very pixels that TensorFlow's pipeline gives."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ktransfer.data import image_dataset, read_images, read_paths, resize_array
from ktransfer.data.images.host import read_on_host, resize_on_host


def noise(height, width, seed=0):
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height))).astype(float)
    return np.clip(smooth + random.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)


def check_same(part, input_size):
    seen = 0
    for images, indices in image_dataset(part, input_size, batch_size=1):
        for image, index in zip(images.numpy(), indices.numpy(), strict=True):
            np.testing.assert_array_equal(read_on_host(part.images, int(index), input_size), image)
            seen += 1
    assert seen == len(part) > 0


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((16, 12), (16, 12)),
        ((50, 40), (16, 12)),
        ((12, 90), (16, 12)),
        ((90, 12), (16, 12)),
        ((33, 25), (16, 12)),
        ((1, 1), (5, 7)),
        ((7, 3), (30, 40)),
        ((30, 3), (3, 2)),
        ((5, 40), (2, 4)),
        ((30, 5), (3, 2)),
        ((480, 641), (32, 32)),
        ((1030, 517), (2, 2)),
    ],
)
def test_numpy_resizes_as_tensorflow_does_bit_for_bit(size, wanted):
    image = noise(*size)
    np.testing.assert_array_equal(
        resize_on_host(image, wanted), resize_array(image[np.newaxis], wanted)[0]
    )


def test_any_size_is_resized_as_by_tensorflow():
    random = np.random.default_rng(5)
    for _ in range(60):
        height, width, to_height, to_width = random.integers(1, 90, 4).tolist()
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        wanted = to_height, to_width
        np.testing.assert_array_equal(
            resize_on_host(image, wanted),
            resize_array(image[np.newaxis], wanted)[0],
            err_msg=f"{image.shape} to {wanted}",
        )


@pytest.mark.parametrize("sampling", [0, 1, 2], ids=["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_halved_and_decoded_as_by_tensorflow(tmp_path, sampling, progressive):
    for number, size in enumerate([(20, 30), (67, 45), (131, 129), (300, 280)]):
        image = Image.fromarray(noise(*size, seed=number))
        image.save(
            tmp_path / f"{number}.jpg", quality=80, subsampling=sampling, progressive=progressive
        )
    Image.fromarray(noise(131, 129)).convert("L").save(tmp_path / "grey.jpg")
    part, _ = read_paths(tmp_path)
    assert {each.route for each in part.files} == {"tensorflow"}
    check_same(part, (16, 16))


def test_every_other_kind_of_image_is_read_as_by_the_pipeline(tmp_path):
    picture = Image.fromarray(noise(61, 47))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=turned)
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    clear = picture.copy()
    clear.putalpha(Image.fromarray(noise(61, 47, seed=1)[..., 0]))
    clear.save(tmp_path / "clear.png")
    deep = (noise(61, 47)[..., 0].astype(np.uint16) * 257).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    picture.save(tmp_path / "plain.png")
    picture.quantize(16).save(tmp_path / "palette.gif")
    picture.save(tmp_path / "picture.webp")
    picture.save(tmp_path / "picture.tif")
    picture.save(tmp_path / "phone.mpo", append_images=[picture.rotate(90)], save_all=True)
    part, skipped = read_paths(tmp_path)
    assert (len(part), skipped) == (9, ())
    check_same(part, (16, 16))


def test_held_images_are_read_as_by_the_pipeline():
    stream = io.BytesIO()
    Image.fromarray(noise(131, 129)).save(stream, "JPEG")
    encoded = tf.data.Dataset.from_tensors(tf.constant(stream.getvalue()))
    for source in (noise(50, 40)[np.newaxis], encoded):
        data = source if isinstance(source, tf.data.Dataset) else [source[0]]
        part, _ = read_images(data)
        check_same(part, (16, 16))


@pytest.mark.shared
def test_real_photos_have_the_same_pixels_on_both_ways(shared):
    part, _ = read_paths([shared / "data" / "ants_bees", shared / "data" / "flowers"])
    check_same(part.select(range(0, len(part), 40)), (224, 224))
