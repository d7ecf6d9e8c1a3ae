#!/usr/bin/env python3
"""explain, neighbors and project from outside, and the example that explains."""
import base64
import collections
import csv
import io
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

import numpy as np
import torch
from PIL import Image

from program import EXAMPLES, MODEL, PICTURES, run

SVG = "{http://www.w3.org/2000/svg}"


def document(*arguments):
    result = run(*arguments, "--json", "--quiet")
    if result.returncode:
        raise AssertionError(result.stderr)
    return json.loads(result.stdout)


class Scratch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)
        self.photos = self.out / "photos"
        for picture in pathlib.Path(PICTURES).iterdir():
            group = self.photos / ("letters" if picture.stem.startswith("letter") else "shapes")
            group.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, group)
        self.files = sorted(str(p) for p in self.photos.rglob("*.png"))


class Explain(Scratch):
    def test_overlays_lie_where_the_pictures_do(self):
        for method in ("grad-cam", "occlusion"):
            out = self.out / method
            found = document("explain", MODEL, self.photos, "--out", out, "--method", method)
            self.assertEqual(found["method"], method)
            self.assertEqual([e["file"] for e in found["explanations"]], self.files)
            for each in found["explanations"]:
                name = pathlib.Path(each["file"])
                self.assertEqual(each["out"], str(out / name.parent.name / name.name))
                self.assertEqual(each["id"], name.stem)  # the embedded network knows its own pictures
                self.assertGreater(each["probability"], 0.5)
                drawn, picture = np.asarray(Image.open(each["out"])), np.asarray(Image.open(name).convert("RGB"))
                self.assertEqual(drawn.shape, picture.shape)
                self.assertGreater(abs(drawn.astype(int) - picture).mean(), 5)

    def test_class_layer_and_colours_can_be_chosen(self):
        star = PICTURES + "/star.png"
        found = document("explain", MODEL, star, "--out", self.out / "a", "--class", "heart", "--layer", "layer3")
        self.assertEqual(found["explanations"][0]["id"], "heart")
        self.assertLess(found["explanations"][0]["probability"], 0.5)
        run("explain", MODEL, star, "--out", self.out / "b", "--colormap", "turbo", "--opacity", 1, "--longest-side", 32)
        drawn = np.asarray(Image.open(self.out / "b" / "star.png"))
        self.assertEqual(drawn.shape, (32, 32, 3))
        text = run("explain", MODEL, star, "--out", self.out / "c", "--quiet").stdout
        self.assertRegex(text, r"^\S*star\.png: star [01]\.\d{4}\n$")

    def test_feature_maps_with_channels_last_have_their_places_where_they_are(self):
        class Swapped(torch.nn.Module):
            def __init__(self, *order):
                super().__init__()
                self.order = list(order)

            def forward(self, x):
                return x.permute(self.order)

        torch.manual_seed(0)
        network = torch.nn.Sequential(collections.OrderedDict(
            first=torch.nn.Conv2d(3, 24, 8, 8), last=Swapped(0, 2, 3, 1), norm=torch.nn.LayerNorm(24), back=Swapped(0, 3, 1, 2),
            pool=torch.nn.AdaptiveAvgPool2d(1), flat=torch.nn.Flatten(), head=torch.nn.Linear(24, 5))).eval()
        torch.jit.script(network).save(str(self.out / "net.pt"))
        for size, crop in ((64, "64x64"), (64, "64x96")):  # WIDTHxHEIGHT
            def overlay(layer):
                made = document("explain", self.out / "net.pt", PICTURES + "/star.png", "--out", self.out / f"{layer}{crop}", "--layer", layer,
                                "--class", 1, "--preprocessing", f"rescale,resize=96,crop={crop}")["explanations"][0]["out"]
                return np.asarray(Image.open(made)).astype(int)

            self.assertEqual(abs(overlay("first") - overlay("last")).max(), 0)  # the same map and the same gradients
            self.assertEqual(abs(overlay("norm") - overlay("back")).max(), 0)
            self.assertGreater(abs(overlay("norm") - overlay("last")).mean(), 1)
        default = document("explain", self.out / "net.pt", PICTURES + "/star.png", "--out", self.out / "heat", "--preprocessing", "rescale,resize=96,crop=64x64")
        self.assertEqual(default["bad_images"], [])

    def test_two_pictures_of_one_name_are_both_there(self):
        other = self.out / "other"
        other.mkdir()
        shutil.copy(PICTURES + "/heart.png", other / "star.png")
        found = document("explain", MODEL, PICTURES + "/star.png", other / "star.png", "--out", self.out / "heat")
        self.assertEqual([pathlib.Path(e["out"]).name for e in found["explanations"]], ["star.png", "star-2.png"])
        self.assertEqual([e["id"] for e in found["explanations"]], ["star", "heart"])

    def test_no_picture_that_is_read_is_written_over(self):
        shapes = self.photos / "shapes"
        (self.out / "link").symlink_to(shapes)
        before = {file: pathlib.Path(file).read_bytes() for file in self.files}
        for arguments in (("explain", MODEL, shapes, "--out", self.out / "link"), ("explain", MODEL, shapes / "star.png", "--out", shapes),
                          ("augment", shapes, "--out", shapes / "star.png", "--augment", "hflip"),
                          ("project", MODEL, self.photos, "--out", self.out / "link" / "star.png")):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
            self.assertRegex(result.stderr, r"\Agraft: config: --out: would write over [^\n]*\n\Z")
        self.assertEqual({file: pathlib.Path(file).read_bytes() for file in self.files}, before)

    def test_an_option_of_the_other_method_is_refused(self):
        for method, other in (("grad-cam", ["--patch", 8]), ("grad-cam", ["--stride", 0]), ("grad-cam", ["--batch", 4]),
                              ("grad-cam", ["--precision", "bfloat16"]), ("occlusion", ["--layer", "layer3"])):
            for named in ([], ["--method", method]):
                if method == "occlusion" and not named:
                    continue
                result = run("explain", MODEL, PICTURES + "/star.png", "--out", self.out / "x", *other, *named)
                self.assertEqual(result.returncode, 2, other)
                self.assertRegex(result.stderr, rf"\Agraft: config: {other[0]}: is for --method \S+, the method is {method}\n\Z")
        self.assertFalse((self.out / "x").exists())

    def test_what_is_wrong_is_said(self):
        star = PICTURES + "/star.png"
        for arguments, part in ((("--layer", "layer9"), '"layer4"'), (("--class", "dog"), 'found "dog"'),
                                (("--method", "guess"), "guess"), (("--opacity", "2"), "0 to 1"), (("--patch", "65", "--method", "occlusion"), "1 to 64")):
            result = run("explain", MODEL, star, "--out", self.out / "x", *arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(part, result.stderr)
        (self.photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        self.assertEqual(run("explain", MODEL, self.photos, "--out", self.out / "x").returncode, 1)
        found = document("explain", MODEL, self.photos, "--out", self.out / "x", "--on-bad-image", "skip")
        self.assertEqual(len(found["explanations"]), len(self.files))
        self.assertIn("broken.png", found["bad_images"][0]["file"])
        (self.out / "file").write_text("")
        blocked = run("explain", MODEL, star, "--out", self.out / "file")
        self.assertEqual(blocked.returncode, 1)
        self.assertIn("graft: io:", blocked.stderr)

    def test_the_example(self):
        result = subprocess.run([str(EXAMPLES / "explain"), MODEL, PICTURES + "/star.png", str(self.out / "heat"), PICTURES],
                                capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(list((self.out / "heat").glob("*.png"))), 3)
        self.assertRegex(result.stdout, r"%  star: .*star\.png\n")
        self.assertRegex(result.stdout, r"1\.0000  .*star\.png\n")


class Neighbors(Scratch):
    def test_they_are_those_of_numpy(self):
        run("embed", MODEL, self.photos, "--out", self.out / "f.npy", "--quiet")
        features = np.load(self.out / "f.npy").astype(np.float64)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        found = document("neighbors", MODEL, self.photos, "--among", self.photos, "--top-k", 3)["queries"]
        self.assertEqual([q["file"] for q in found], self.files)
        for i, query in enumerate(found):
            similarity = features @ features[i]
            similarity[i] = -2  # the picture itself is left out
            best = np.argsort(-similarity, kind="stable")[:3]
            self.assertEqual([n["file"] for n in query["neighbors"]], [self.files[j] for j in best])
            np.testing.assert_allclose([n["similarity"] for n in query["neighbors"]], similarity[best], atol=1e-5)

    def test_pictures_that_cannot_be_read_are_left_out_of_both_sides(self):
        broken = self.photos / "0_broken.png"
        broken.write_bytes(b"\x89PNG\r\n\x1a\n")
        query = ["neighbors", MODEL, self.photos, "--among", self.photos, "--top-k", 2]
        self.assertEqual(run(*query).returncode, 1)
        found = document(*query, "--on-bad-image", "skip")
        self.assertEqual([q["file"] for q in found["queries"]], self.files)
        self.assertEqual({b["file"] for b in found["bad_images"]}, {str(broken)})
        for query in found["queries"]:
            self.assertNotIn(query["file"], [n["file"] for n in query["neighbors"]])  # itself, by the right row
        points = document("project", MODEL, self.photos, "--out", self.out / "map.csv", "--method", "pca", "--on-bad-image", "skip")
        self.assertEqual([b["file"] for b in points["bad_images"]], [str(broken)])

    def test_the_picture_itself_has_many_names(self):
        star = self.photos / "shapes" / "star.png"
        for i in range(7):
            (self.photos / f"{i}.png").symlink_to(star)
        found = document("neighbors", MODEL, star, "--among", self.photos, self.photos, "--top-k", 3)["queries"][0]["neighbors"]
        names = [neighbor["file"] for neighbor in found]
        self.assertEqual(len(set(names)), 3)
        self.assertFalse([name for name in names if pathlib.Path(name).samefile(star)])

    def test_text_and_errors(self):
        text = run("neighbors", MODEL, PICTURES + "/star.png", "--among", self.photos, "--top-k", 2, "--quiet").stdout
        self.assertRegex(text, r"star\.png\n  1\.0000  .*shapes/star\.png\n  0\.\d{4}  .*\n$")  # a copy is another file
        many = document("neighbors", MODEL, self.files[0], "--among", self.photos, "--top-k", 1000)["queries"][0]
        self.assertEqual(len(many["neighbors"]), len(self.files) - 1)
        self.assertEqual(run("neighbors", MODEL, PICTURES).returncode, 2)
        missing = run("neighbors", MODEL, self.files[0], "--among", self.out / "nowhere")
        self.assertEqual((missing.returncode, "graft: io:" in missing.stderr), (1, True))


class Project(Scratch):
    def test_svg_png_and_csv_show_the_same_places(self):
        for method in ("pca", "tsne"):
            svg, png, table = (self.out / f"map.{kind}" for kind in ("svg", "png", "csv"))
            found = document("project", MODEL, self.photos, "--out", svg, "--method", method)
            self.assertEqual(found["method"], method)
            self.assertEqual(found["kl_divergence"] is None, method == "pca")
            self.assertEqual([p["file"] for p in found["points"]], self.files)
            places = np.array([[p["x"], p["y"]] for p in found["points"]])

            root = xml.etree.ElementTree.parse(svg).getroot()
            images = root.findall(f".//{SVG}image")
            self.assertEqual([t.text for t in root.findall(f".//{SVG}g/{SVG}title")],
                             [f"{pathlib.Path(f).name} ({pathlib.Path(f).parent.name})" for f in self.files])
            drawn = np.array([[float(i.get("x")), -float(i.get("y"))] for i in images])
            scale = (np.ptp(drawn, 0) / np.ptp(places, 0)).mean()
            np.testing.assert_allclose(drawn - drawn.mean(0), (places - places.mean(0)) * scale, atol=2)
            for image in images:
                prefix, data = image.get("href").split(",")
                self.assertEqual(prefix, "data:image/jpeg;base64")
                self.assertEqual(Image.open(io.BytesIO(base64.b64decode(data, validate=True))).size, (64, 64))

            document("project", MODEL, self.photos, "--out", table, "--method", method)
            with open(table, newline="") as file:
                rows = list(csv.DictReader(file))
            np.testing.assert_allclose([[float(r["x"]), float(r["y"])] for r in rows], places, atol=1e-5)
            self.assertEqual({r["group"] for r in rows}, {"letters", "shapes"})

            document("project", MODEL, self.photos, "--out", png, "--method", method, "--width", 400, "--height", 300, "--thumbnail", 16)
            with Image.open(png) as drawn_map:
                self.assertEqual(drawn_map.size, (400, 300))

    def test_what_is_wrong_is_said(self):
        for out, part in (("map.pdf", ".svg, .png or .csv"), ("no/map.svg", "no")):
            result = run("project", MODEL, self.photos, "--out", self.out / out)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(part, result.stderr)
        few = run("project", MODEL, *self.files[:2], "--out", self.out / "map.svg")
        self.assertEqual(few.returncode, 1)
        self.assertIn("N >= 4", few.stderr)
        self.assertRegex(run("project", MODEL, self.photos, "--out", self.out / "map.svg", "--perplexity", "500").stderr, "less than the")
        other = run("project", MODEL, self.photos, "--out", self.out / "map.svg", "--method", "pca", "--perplexity", 5)
        self.assertEqual((other.returncode, "are for --method tsne" in other.stderr), (2, True))


if __name__ == "__main__":
    unittest.main()
