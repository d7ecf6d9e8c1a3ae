#!/usr/bin/env python3
"""Real photos, decoded and resized: the pixels beside Pillow's. Skipped without GRAFT_DATA (docs/testing.md).
Prints, for each way of resizing, how many values are the same and the largest difference."""
import os
import pathlib
import subprocess
import unittest

import numpy as np
from PIL import Image, ImageOps
from PIL import __version__ as pillow_version

DATA = pathlib.Path(os.environ.get("GRAFT_DATA", "/nonexistent"))
DUMP = os.environ.get("GRAFT_DUMP_PIXELS", "")
OPENCV = os.environ.get("GRAFT_DECODER", "opencv") == "opencv"
FILTERS = {name: getattr(Image.Resampling, name.upper()) for name in ("nearest", "bilinear", "bicubic")}


def shorter(image, size):
    """torchvision.transforms.functional.resize with one number."""
    width, height = image.size
    return (size, int(size * height / width)) if width <= height else (int(size * width / height), size)


def shorter_side(path):
    with Image.open(path) as image:
        return min(image.size)


def pixels_of(files, how, interpolation):
    with subprocess.Popen([DUMP, how, interpolation, *files], stdout=subprocess.PIPE) as process:
        for _ in files:
            width, height = map(int, process.stdout.readline().split())
            yield np.frombuffer(process.stdout.read(width * height * 3), np.uint8).reshape(height, width, 3)
    if process.returncode:
        raise AssertionError("dump_pixels failed")


def reference(path, how, interpolation):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    kind, _, size = how.partition(":")
    if kind == "stretch":
        image = image.resize(tuple(map(int, size.split("x"))), FILTERS[interpolation])
    elif kind in ("shorter", "reduced"):
        image = image.resize(shorter(image, int(size)), FILTERS[interpolation])
    return np.asarray(image)


@unittest.skipUnless((DATA / "imagenet_sample").is_dir(), "GRAFT_DATA is not set to a folder with real photos")
class Pixels(unittest.TestCase):
    def setUp(self):
        self.files = sorted(str(f) for f in (DATA / "imagenet_sample").rglob("*") if f.suffix.lower() in (".jpg", ".jpeg"))
        self.assertEqual(len(self.files), 200)

    def compare(self, how, interpolation, files):
        total = same = largest = 0
        error = 0.0
        for file, found in zip(files, pixels_of(files, how, interpolation)):
            expected = reference(file, how, interpolation)
            self.assertEqual(found.shape, expected.shape, file)
            difference = np.abs(found.astype(int) - expected)
            total, same, largest = total + difference.size, same + (difference == 0).sum(), max(largest, difference.max())
            error += difference.sum()
        print(f"{how} {interpolation}: {same / total:.4%} of {total} values the same, largest difference {largest}, "
              f"mean {error / total:.2g} (Pillow {pillow_version})", flush=True)
        return same / total, largest, error / total

    def test_pixels_equal_pillow(self):
        for how in ("none", "shorter:256", "shorter:232", "stretch:224x224"):
            for interpolation in ("nearest", "bilinear", "bicubic"):
                if how == "none" and interpolation != "nearest":
                    continue
                with self.subTest(how=how, interpolation=interpolation):
                    same, largest, _ = self.compare(how, interpolation, self.files)
                    if OPENCV:
                        self.assertGreaterEqual(same, 0.999)
                        self.assertLessEqual(largest, 1)
                    else:
                        self.assertGreaterEqual(same, 0.96)
                        self.assertLessEqual(largest, 5)

    @unittest.skipUnless(OPENCV, "this build decodes in full")
    def test_reduced_decoding_is_near_the_full_picture(self):
        """At 1/2 and 1/4 of their size, and so small then that the margin of two is nearly used up."""
        for denominator, size in ((2, 80), (4, 40)):
            files = [f for f in self.files if 2 * size * denominator <= shorter_side(f) < 4 * size * denominator]
            self.assertGreater(len(files), 150)
            for interpolation in ("bilinear", "bicubic"):
                with self.subTest(size=size, interpolation=interpolation):
                    same, largest, mean = self.compare(f"reduced:{size}", interpolation, files)
                    self.assertLess(same, 0.9)  # it is reduced
                    self.assertLessEqual(mean, 1)
                    self.assertLessEqual(largest, 32)


if __name__ == "__main__":
    unittest.main()
