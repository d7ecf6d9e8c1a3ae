#!/usr/bin/env python3
"""Writes tests/golden/images: small pictures of every kind, drawn here, and what Pillow makes of them.

    make_image_vectors.py          (needs numpy and pillow 13; the tests need only the files)

From version 13 on, Pillow resizes columns before rows where the height shrinks much more than the width, which rounds
otherwise.

NAME.rgb8: raw RGB bytes of the decoded picture, orientation applied, as Image.open(NAME).convert("RGB") gives them.
NAME.N.rgb8: the same decoded at 1/N of its size (Image.draft). resize_*.rgb8: resized copies of photo.png.
reduced_N_METHOD.rgb8: photo.jpg decoded at 1/N and resized. op_*.rgb8: OPERATIONS on photo.png.
"""
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from PIL import __version__ as pillow_version

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


def reduced(name, denominator):
    """Decoded at 1/denominator, sides rounded up."""
    image = Image.open(OUT / name)
    width, height = image.size
    image.draft("RGB", (width // denominator, height // denominator))
    assert image.size == (-(-width // denominator), -(-height // denominator)), image.size
    return image


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


def hue(image, factor):
    """torchvision.transforms.functional.adjust_hue on a PIL image."""
    h, s, v = image.convert("HSV").split()
    turned = np.asarray(h) + np.array(int(factor * 255)).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(turned), s, v)).convert("RGB")


def affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


OPERATIONS = {  # as torchvision.transforms.functional calls Pillow
    "brightness": lambda i: ImageEnhance.Brightness(i).enhance(1.37),
    "darkness": lambda i: ImageEnhance.Brightness(i).enhance(0.43),
    "contrast": lambda i: ImageEnhance.Contrast(i).enhance(1.7),
    "flatness": lambda i: ImageEnhance.Contrast(i).enhance(0.31),
    "saturation": lambda i: ImageEnhance.Color(i).enhance(1.83),
    "greyness": lambda i: ImageEnhance.Color(i).enhance(0.27),
    "sharpness": lambda i: ImageEnhance.Sharpness(i).enhance(1.9),
    "smoothness": lambda i: ImageEnhance.Sharpness(i).enhance(0.12),
    "hue": lambda i: hue(i, 0.21),
    "hue_back": lambda i: hue(i, -0.4),
    "posterize": lambda i: ImageOps.posterize(i, 3),
    "solarize": lambda i: ImageOps.solarize(i, 110.5),
    "autocontrast": lambda i: ImageOps.autocontrast(i.point(lambda v: v // 2 + 30)),
    "equalize": ImageOps.equalize,
    "rotate": lambda i: i.rotate(33.3, Image.Resampling.NEAREST),
    "rotate_back": lambda i: i.rotate(-117.0, Image.Resampling.NEAREST),
    "rotate_half": lambda i: i.rotate(180, Image.Resampling.NEAREST),
    "rotate_quarter": lambda i: i.crop((0, 0, 40, 40)).rotate(90, Image.Resampling.NEAREST),
    "shear_x": lambda i: affine(i, 1, 0.37, 0, 0, 1, 0),
    "shear_y": lambda i: affine(i, 1, 0, 0, -0.52, 1, 0),
    "translate_x": lambda i: affine(i, 1, 0, -9, 0, 1, 0),
    "translate_y": lambda i: affine(i, 1, 0, 0, 0, 1, 13),
    "crop_resize": lambda i: i.crop((7, 5, 50, 33)).resize((32, 24), Image.Resampling.BILINEAR),
}


def ycck(cmyk):
    """The same numbers, said to be YCCK: Adobe's marker names the transform in its last byte."""
    transform = cmyk.index(b"Adobe") + 11
    return cmyk[:transform] + b"\x02" + cmyk[transform + 1:]


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
    (OUT / "ycck.jpg").write_bytes(ycck((OUT / "cmyk.jpg").read_bytes()))  # other colours: what matters is that all agree on them
    write_pixels("ycck.jpg", Image.open(OUT / "ycck.jpg"))
    for orientation in range(9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"orientation_{orientation}.jpg", photo.crop((0, 0, 24, 16)), quality=95, exif=exif)
        write_pixels(f"orientation_{orientation}.jpg.2", ImageOps.exif_transpose(reduced(f"orientation_{orientation}.jpg", 2)))
    Image.fromarray(picture(285, 223, 2)).save(OUT / "large.jpg", quality=80)

    for denominator in (2, 4, 8):
        small = reduced("photo.jpg", denominator)
        write_pixels(f"photo.jpg.{denominator}", small)
        box = (0, 0, photo.width / denominator, photo.height / denominator)  # what of it is the picture
        for method in ("NEAREST", "BILINEAR", "BICUBIC"):
            write_pixels(f"reduced_{denominator}_{method.lower()}", small.resize((7, 5), getattr(Image.Resampling, method), box))
    for name in ("grey.jpg", "progressive.jpg"):
        write_pixels(f"{name}.2", reduced(name, 2))

    for name, size in (("down", (23, 17)), ("up", (100, 90)), ("wider", (90, 20)), ("flatter", (58, 20)), ("same_height", (30, 47)), ("same", (61, 47))):
        for method in ("NEAREST", "BILINEAR", "BICUBIC"):
            resized = photo.resize(size, getattr(Image.Resampling, method))
            write_pixels(f"resize_{name}_{method.lower()}", resized)

    for name, change in OPERATIONS.items():
        write_pixels(f"op_{name}", change(photo))
    print(f"pillow {pillow_version}: {len(list(OUT.iterdir()))} files,",
          sum(f.stat().st_size for f in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
