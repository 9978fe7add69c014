"""Makes the files in this folder, which tests compare our decoding, cropping and resizing with.

    python -m venv venv && venv/bin/pip install pillow==13.0.0 numpy==2.4.6 pyarrow==26.0.1 && venv/bin/python make.py

`rings.png` is drawn here; `rings-*.jpg` are the same picture as Pillow writes it, `rings-*.png` those files as Pillow reads them (libjpeg-turbo).
`resized-HxW.png` and `cropped-HxW.png` are made of `rings.png` by Pillow's `resize(BILINEAR)` and by the rule of torchvision's
`CenterCrop`. The parquet files hold five pictures in the schema of CIFAR-10, as PyArrow writes it under several settings.
"""

import io
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = pathlib.Path(__file__).parent
HEIGHT, WIDTH = 61, 47


def rings():
    """Rings of changing colour with a little noise, and a hard edge."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    radius = np.hypot(y - 25, x - 20)
    planes = [128 + 110 * np.sin(radius / 3 + phase) for phase in (0, 2, 4)]
    picture = np.stack(planes, -1) + np.random.default_rng(1).normal(0, 4, (HEIGHT, WIDTH, 3))
    picture[:, 35:] = 255 - picture[:, 35:] / 2
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


picture = rings()
picture.save(HERE / "rings.png")
for name, image, options in [
    ("444", picture, {"quality": 95, "subsampling": 0}),
    ("420", picture, {"quality": 85, "subsampling": 2}),
    ("grey", picture.convert("L"), {"quality": 90}),
    ("progressive", picture, {"quality": 95, "subsampling": 0, "progressive": True}),
]:
    image.save(HERE / f"rings-{name}.jpg", **options)
    Image.open(HERE / f"rings-{name}.jpg").save(HERE / f"rings-{name}.png")
for height, width in [(80, 90), (20, 20), (61, 13), (64, 40)]:
    picture.resize((width, height), Image.BILINEAR).save(HERE / f"resized-{height}x{width}.png")
for height, width in [(40, 40), (58, 44)]:
    top, left = int(round((HEIGHT - height) / 2.0)), int(round((WIDTH - width) / 2.0))
    picture.crop((left, top, left + width, top + height)).save(HERE / f"cropped-{height}x{width}.png")

# Five pictures of 32 x 32; picture i has the value 40 * i + channel everywhere, but column i is white.
images, labels = [], [3, 8, 8, 0, 6]
for i in range(5):
    pixels = np.full((32, 32, 3), 40 * i, np.uint8) + np.arange(3, dtype=np.uint8)
    pixels[:, i] = 255
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "png")
    images.append({"bytes": data.getvalue(), "path": None})
table = pa.table(
    {"img": pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()})), "label": pa.array(labels, pa.int64())}
)
for name, options in {
    "snappy": {"row_group_size": 2},
    "v2-zstd": {"data_page_version": "2.0", "compression": "zstd"},
    "plain": {"use_dictionary": False, "compression": "none", "row_group_size": 3},
    "gzip-page-of-one": {"compression": "gzip", "data_page_size": 1, "write_batch_size": 1},
}.items():
    pq.write_table(table, HERE / f"cifar-{name}.parquet", **options)
