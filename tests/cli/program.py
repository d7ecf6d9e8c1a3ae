"""What the tests of the program share. Needs GRAFT_PROGRAM and GRAFT_EXAMPLES (folders)."""
import os
import pathlib
import subprocess

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRAFT = os.environ["GRAFT_PROGRAM"]
EXAMPLES = pathlib.Path(os.environ["GRAFT_EXAMPLES"])
MODEL = str(ROOT / "models" / "graft_mini.pt")
PICTURES = str(ROOT / "examples" / "images")


def run(*arguments, **options):
    return subprocess.run([GRAFT, *map(str, arguments)], capture_output=True, text=True, **options)


def draw_noise(folder, count):
    """Pictures of noise in several sizes: 000.png and so on."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(count):
        size = rng.integers(40, 90, 2)
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / f"{i:03}.png")
    return folder


def make_folder(root, per_class=6):
    """Stripes across and stripes down, with noise. The embedded network looks at shapes and not at colours, so shapes it is."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("across", "down"):
            (root / part / name).mkdir(parents=True)
            for i in range(per_class):
                waves = np.sin(np.arange(64) * rng.uniform(0.4, 0.8) + rng.uniform(0, 6))[:, None] * np.ones(64)
                grey = 120 + 80 * (waves if name == "across" else waves.T)
                pixels = grey[..., None] + rng.uniform(-20, 20, (64, 64, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{i}.png")
