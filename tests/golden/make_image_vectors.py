#!/usr/bin/env python3
"""Writes tests/golden/images: small pictures of every kind, drawn here, and what Pillow and scipy make of them.

    make_image_vectors.py          (needs numpy, pillow 13, scipy; the tests need only the files)

From version 13 on, Pillow resizes columns before rows where the height shrinks much more than the width, which rounds
otherwise.

NAME.rgb8: raw RGB bytes of the decoded picture, orientation applied, as Image.open(NAME).convert("RGB") gives them.
resize_*.rgb8: resized copies of photo.png. augment_*.f32: affine maps and flips of photo.png, float32, HWC.
"""
import pathlib
import struct
import zlib

import numpy as np
import scipy
from PIL import Image, ImageOps
from PIL import __version__ as pillow_version
from scipy import ndimage

OUT = pathlib.Path(__file__).resolve().parent / "images"


def picture(width, height, seed):
    """Smooth colour fields with sharp edges and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([127 + 120 * np.sin(x / 7 + 1), 127 + 120 * np.cos(y / 5), 255 * ((x // 9 + y // 6) % 2)], -1)
    return np.clip(rgb + rng.normal(0, 12, rgb.shape), 0, 255).astype(np.uint8)


def write_pixels(name, image):
    (OUT / f"{name}.rgb8").write_bytes(np.asarray(image.convert("RGB"), np.uint8).tobytes())


def save(name, image, **options):
    image.save(OUT / name, **options)
    write_pixels(name, ImageOps.exif_transpose(Image.open(OUT / name)))


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def interlaced_png(rgb):
    """Adam7, which Pillow reads but does not write."""
    height, width, _ = rgb.shape
    raw = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = rgb[y0::dy, x0::dx]
        if part.size:
            raw += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")


def png16(values, colour_type):
    """16 bits a sample, big-endian."""
    height, width = values.shape[:2]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")


def affine(image, theta=0.0, tx=0.0, ty=0.0, shear=0.0, zx=1.0, zy=1.0, hflip=False, vflip=False, mode="nearest", cval=0.0):
    """keras/src/legacy/preprocessing/image.py, apply_affine_transform and the flips of apply_transform, as formulas."""
    h, w = image.shape[:2]
    t, s = np.deg2rad(theta), np.deg2rad(shear)
    m = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    m = m @ np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    m = m @ np.array([[1, -np.sin(s), 0], [0, np.cos(s), 0], [0, 0, 1]])
    m = m @ np.diag([zx, zy, 1])
    ox, oy = h / 2 - 0.5, w / 2 - 0.5
    m = np.array([[1, 0, ox], [0, 1, oy], [0, 0, 1]]) @ m @ np.array([[1, 0, -ox], [0, 1, -oy], [0, 0, 1]])
    m = m[[1, 0, 2]][:, [1, 0, 2]]
    out = np.stack([ndimage.affine_transform(image[..., c].astype(np.float32), m[:2, :2], m[:2, 2], order=1, mode=mode,
                                             cval=cval) for c in range(3)], -1)
    out = out[:, ::-1] if hflip else out
    return np.ascontiguousarray(out[::-1] if vflip else out, np.float32)


def main():
    OUT.mkdir(exist_ok=True)
    rgb = picture(61, 47, 1)
    photo, grey = Image.fromarray(rgb), Image.fromarray(rgb[..., 0])

    save("photo.png", photo)
    save("grey.png", grey)
    save("one_bit.png", grey.convert("1"))
    save("palette.png", photo.quantize(16))
    save("palette_transparent.png", photo.quantize(16), transparency=3)
    save("rgba.png", Image.fromarray(np.dstack([rgb, rgb[..., 1]])))
    save("photo.bmp", photo)
    (OUT / "interlaced.png").write_bytes(interlaced_png(rgb))
    write_pixels("interlaced.png", Image.open(OUT / "interlaced.png"))
    wide = rgb.astype(np.uint16) * 256 + 77
    (OUT / "rgb16.png").write_bytes(png16(wide, 2))
    write_pixels("rgb16.png", photo)  # the high byte
    (OUT / "grey16.png").write_bytes(png16(wide[..., 0], 0))
    write_pixels("grey16.png", grey)  # the high byte; Pillow itself clips I;16 to white

    save("photo.jpg", photo, quality=90)
    save("grey.jpg", grey, quality=90)
    save("progressive.jpg", photo, quality=90, progressive=True)
    save("cmyk.jpg", photo.convert("CMYK"), quality=95)
    for orientation in range(9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"orientation_{orientation}.jpg", photo.crop((0, 0, 24, 16)), quality=95, exif=exif)

    for name, size in (("down", (23, 17)), ("up", (100, 90)), ("wider", (90, 20)), ("flatter", (58, 20)), ("same_height", (30, 47)), ("same", (61, 47))):
        for method in ("NEAREST", "BILINEAR", "BICUBIC"):
            resized = photo.resize(size, getattr(Image.Resampling, method))
            write_pixels(f"resize_{name}_{method.lower()}", resized)

    for name, draw in {
        "shear_zoom": dict(shear=13.0, zx=0.85, zy=1.15, hflip=True),
        "rotate_shift": dict(theta=20.0, tx=4.5, ty=-7.25),
        "constant": dict(theta=-35.0, zx=1.3, zy=1.2, mode="constant", cval=7.0),
        "reflect": dict(tx=11.0, ty=9.5, zx=1.4, zy=1.4, mode="reflect"),
        "wrap": dict(tx=-13.0, ty=6.5, mode="wrap"),
        "flips": dict(hflip=True, vflip=True),
    }.items():
        (OUT / f"augment_{name}.f32").write_bytes(affine(rgb, **draw).tobytes())
    print(f"pillow {pillow_version}, scipy {scipy.__version__}: {len(list(OUT.iterdir()))} files,",
          sum(f.stat().st_size for f in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
