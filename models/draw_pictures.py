#!/usr/bin/env python3
"""Draws the pictures that the embedded network is trained on: capital letters, simple shapes and invented glyphs, all from
the stroke lists below. No fonts, no photos, and no digits, which are what the network is transferred to.

    draw_pictures.py SHEET.png               a contact sheet, one column of samples for each class
    draw_pictures.py --examples DIR          the pictures of examples/images
"""
import math
import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 64
SUPERSAMPLE = 2
GLYPHS = 40


def arc(cx, cy, rx, ry, start, end, points=24):
    """Points of an ellipse's arc, degrees, 0 = right, 90 = down."""
    return [(cx + rx * math.cos(math.radians(a)), cy + ry * math.sin(math.radians(a)))
            for a in np.linspace(start, end, points)]


def polygon(corners, radius=0.45, turn=-90.0):
    """A closed regular polygon."""
    return [(0.5 + radius * math.cos(math.radians(turn + 360 * i / corners)),
             0.5 + radius * math.sin(math.radians(turn + 360 * i / corners))) for i in range(corners + 1)]


def star(points, inner=0.18, outer=0.47):
    return [(0.5 + (inner if i % 2 else outer) * math.sin(math.pi * i / points),
             0.5 - (inner if i % 2 else outer) * math.cos(math.pi * i / points)) for i in range(2 * points + 1)]


LETTERS = {
    "A": [[(0.1, 1), (0.5, 0), (0.9, 1)], [(0.27, 0.62), (0.73, 0.62)]],
    "B": [[(0.2, 0), (0.2, 1)], [(0.2, 0)] + arc(0.5, 0.24, 0.3, 0.24, -90, 90) + [(0.2, 0.48)],
          [(0.2, 0.48)] + arc(0.55, 0.74, 0.3, 0.26, -90, 90) + [(0.2, 1)]],
    "C": [arc(0.55, 0.5, 0.42, 0.5, -50, -310)],
    "D": [[(0.2, 0), (0.2, 1)], [(0.2, 0)] + arc(0.4, 0.5, 0.45, 0.5, -90, 90) + [(0.2, 1)]],
    "E": [[(0.85, 0), (0.2, 0), (0.2, 1), (0.85, 1)], [(0.2, 0.5), (0.7, 0.5)]],
    "F": [[(0.85, 0), (0.2, 0), (0.2, 1)], [(0.2, 0.5), (0.7, 0.5)]],
    "G": [arc(0.55, 0.5, 0.42, 0.5, -50, -330), [(0.6, 0.55), (0.93, 0.55), (0.93, 0.8)]],
    "H": [[(0.15, 0), (0.15, 1)], [(0.85, 0), (0.85, 1)], [(0.15, 0.5), (0.85, 0.5)]],
    "I": [[(0.5, 0), (0.5, 1)], [(0.25, 0), (0.75, 0)], [(0.25, 1), (0.75, 1)]],
    "J": [[(0.7, 0), (0.7, 0.7)] + arc(0.42, 0.7, 0.28, 0.3, 0, 160), [(0.4, 0), (0.95, 0)]],
    "K": [[(0.2, 0), (0.2, 1)], [(0.85, 0), (0.2, 0.55)], [(0.42, 0.4), (0.88, 1)]],
    "L": [[(0.2, 0), (0.2, 1), (0.85, 1)]],
    "M": [[(0.08, 1), (0.15, 0), (0.5, 0.65), (0.85, 0), (0.92, 1)]],
    "N": [[(0.15, 1), (0.15, 0), (0.85, 1), (0.85, 0)]],
    "O": [arc(0.5, 0.5, 0.42, 0.5, 0, 360)],
    "P": [[(0.2, 1), (0.2, 0)] + arc(0.5, 0.27, 0.33, 0.27, -90, 90) + [(0.2, 0.54)]],
    "Q": [arc(0.5, 0.5, 0.42, 0.48, 0, 360), [(0.6, 0.68), (0.95, 1)]],
    "R": [[(0.2, 1), (0.2, 0)] + arc(0.5, 0.26, 0.32, 0.26, -90, 90) + [(0.2, 0.52)], [(0.48, 0.52), (0.88, 1)]],
    "S": [arc(0.5, 0.26, 0.33, 0.26, -30, -270) + arc(0.5, 0.75, 0.35, 0.25, -90, 150)],
    "T": [[(0.08, 0), (0.92, 0)], [(0.5, 0), (0.5, 1)]],
    "U": [[(0.15, 0), (0.15, 0.6)] + arc(0.5, 0.62, 0.35, 0.38, 180, 0) + [(0.85, 0)]],
    "V": [[(0.08, 0), (0.5, 1), (0.92, 0)]],
    "W": [[(0.02, 0), (0.25, 1), (0.5, 0.35), (0.75, 1), (0.98, 0)]],
    "X": [[(0.1, 0), (0.9, 1)], [(0.9, 0), (0.1, 1)]],
    "Y": [[(0.1, 0), (0.5, 0.5), (0.9, 0)], [(0.5, 0.5), (0.5, 1)]],
    "Z": [[(0.1, 0), (0.9, 0), (0.1, 1), (0.9, 1)]],
}

SHAPES = {
    "ring": [polygon(40), polygon(40, 0.22)],
    "square": [polygon(4, 0.55, -45)],
    "triangle": [polygon(3, 0.5)],
    "pentagon": [polygon(5, 0.48)],
    "diamond": [[(0.5, 0), (0.8, 0.5), (0.5, 1), (0.2, 0.5), (0.5, 0)]],
    "star": [star(5)],
    "cross": [[(0.5, 0.05), (0.5, 0.95)], [(0.05, 0.5), (0.95, 0.5)]],
    "heart": [[(0.5, 1)] + arc(0.27, 0.28, 0.25, 0.25, 150, 345) + arc(0.73, 0.28, 0.25, 0.25, 195, 390) + [(0.5, 1)]],
    "arrow": [[(0.02, 0.5), (0.98, 0.5)], [(0.65, 0.2), (0.98, 0.5), (0.65, 0.8)]],
    "crescent": [arc(0.5, 0.5, 0.46, 0.48, 60, 300) + arc(0.72, 0.5, 0.38, 0.4, 255, 105)],
    "spiral": [[(0.5 + 0.46 * t * math.cos(15 * t), 0.5 + 0.46 * t * math.sin(15 * t)) for t in np.linspace(0.05, 1, 70)]],
    "zigzag": [[(0, 0.7), (0.2, 0.3), (0.4, 0.7), (0.6, 0.3), (0.8, 0.7), (1, 0.3)]],
    "wave": [[(t, 0.5 + 0.25 * math.sin(4 * math.pi * t)) for t in np.linspace(0, 1, 40)]],
    "house": [[(0.15, 1), (0.15, 0.45), (0.5, 0.05), (0.85, 0.45), (0.85, 1), (0.15, 1)]],
    "lightning": [[(0.6, 0), (0.25, 0.55), (0.55, 0.5), (0.35, 1)]],
}


def invented_glyph(seed):
    """Two to four smooth strokes between random points: a letter of no alphabet."""
    rng = np.random.default_rng(1000 + seed)
    strokes = []
    for _ in range(rng.integers(2, 5)):
        a, b, c, d = rng.random((4, 2))
        t = np.linspace(0, 1, 20)[:, None]
        strokes.append([tuple(p) for p in (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t ** 2 * c + t ** 3 * d])
    return strokes


CLASSES = {**{f"letter_{name}": strokes for name, strokes in LETTERS.items()}, **SHAPES,
           **{f"glyph_{i:02d}": invented_glyph(i) for i in range(GLYPHS)}}


def draw(strokes, rng, side=SIDE):
    """One picture [side, side, 3] uint8: strokes bent, turned and sized at random, in random colours on a random ground."""
    turn, shear = np.radians(rng.uniform(-18, 18)), rng.uniform(-0.25, 0.25)
    scale = rng.uniform(0.5, 0.82) * np.array([rng.uniform(0.75, 1.1), rng.uniform(0.85, 1.1)])
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array([[1, shear], [0, 1]]) * scale
    centre = 0.5 + rng.uniform(-0.09, 0.09, 2)
    bend, phase = rng.normal(0, 0.035, (2, 2)), rng.uniform(0, 6.28, 2)
    paper, ink = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    if rng.random() < 0.5:  # often without colour, as scans are
        paper[:], ink[:] = paper[0], ink[0]
    contrast = ink.mean() - paper.mean()
    if abs(contrast) < 90:
        paper, ink = (paper * 0.35, 255 - (255 - ink) * 0.35) if contrast >= 0 else (255 - (255 - paper) * 0.35, ink * 0.35)

    size = side * SUPERSAMPLE
    mask = Image.new("L", (size, size))
    pen = ImageDraw.Draw(mask)
    width = max(2, round(rng.uniform(0.03, 0.13) * size))
    for stroke in strokes:
        p = np.asarray(stroke, float)
        p = p + bend[0] * np.sin(6.28 * p[:, ::-1] + phase) + bend[1] * np.cos(3.14 * p[:, ::-1])
        p = ((p - 0.5) @ matrix.T + centre) * size
        p += rng.normal(0, 0.006 * size, p.shape) if len(p) < 12 else 0
        pen.line([tuple(q) for q in p], fill=255, width=width, joint="curve")
        for q in (p[0], p[-1]):
            pen.ellipse([q[0] - width / 2, q[1] - width / 2, q[0] + width / 2, q[1] + width / 2], fill=255)
    blur = rng.uniform(0, 1.6) if rng.random() < 0.7 else rng.uniform(1.6, 4.5)
    mask = mask.filter(ImageFilter.GaussianBlur(blur)).resize((side, side), Image.Resampling.BOX)
    cover = np.asarray(mask, np.float32)[..., None] / 255
    y, x = np.mgrid[-1:1:side * 1j, -1:1:side * 1j]
    shade = rng.uniform(-25, 25) * x + rng.uniform(-25, 25) * y
    picture = paper * (1 - cover) + ink * cover + shade[..., None] + rng.normal(0, rng.uniform(0, 14), (side, side, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_set(per_class, seed):
    """Pictures [N, SIDE, SIDE, 3] and class indices [N], shuffled."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(CLASSES)), per_class)
    rng.shuffle(labels)
    strokes = list(CLASSES.values())
    return np.stack([draw(strokes[label], rng) for label in labels]), labels


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--examples":
        out = pathlib.Path(sys.argv[2])
        out.mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(("letter_A", "letter_R", "letter_S", "star", "heart", "house", "spiral", "crescent")):
            Image.fromarray(draw(CLASSES[name], np.random.default_rng(79_000 + i), side=128)).save(out / f"{name}.png")
    elif len(sys.argv) == 2:
        rows = [np.concatenate([draw(strokes, np.random.default_rng(seed)) for strokes in CLASSES.values()], 1) for seed in range(8)]
        Image.fromarray(np.concatenate(rows, 0)).save(sys.argv[1])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
