#!/usr/bin/env python3
"""The fuzzers' corpora, a folder for each.

archive: the networks of tests/golden, as they are, and with their source unpacked and no debug records, so that the fuzzer can change
it; and each of them cut off, or with a byte changed, a few times over. image: the pictures of tests/golden. safetensors, text: small
files of each kind.

    make_corpora.py FOLDER [--seed 0]
"""
import argparse
import hashlib
import json
import math
import pathlib
import random
import zipfile

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
def feature_cache(rows=2, shape=(3, 2)):
    """A file of src/train/feature_file.cpp, for the fuzzer's space."""
    text = b"graft features 1\n" + b"a" * 64 + b"\n" + b"".join(b"%d " % size for size in shape) + b"\n"
    file = (text + hashlib.sha256(text).hexdigest().encode()).ljust(512, b"\n")
    for number in range(rows):
        key, row = b"%064d" % number, bytes(4 * math.prod(shape))
        file += key + hashlib.sha256(key + row).hexdigest().encode() + row
    return file


# By the first byte of the fuzzer's input: which reader takes the rest.
TEXTS = (
    (b"tench\ngoldfish\r\n", b"\xef\xbb\xbfa b\n", b'["a", "b"]', b'{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}'),
    (b"torch", b"caffe,resize=248,interpolation=bicubic", b"torch,crop=224,channels=bgr,mean=0.5/0.5/0.5"),
    (b"shear=0.2,zoom=0.2,hflip", b"crop=0.6,trivial,jitter=0.2,erase", b"rotate=10,shift=0.1"),
    (b"constant", b"step:3:0.5", b"cosine", b"one-cycle", b"plateau:2"),
    (feature_cache(), feature_cache()[:-7], feature_cache(rows=0)),
    (b"text,label\na,b\n", b'label,text\r\n"a","b ""c""\n, d"\r\n\r\n', "text,label\n\u4e2d\u6587,\u00e9\n".encode()),
    (b"\x9fab !", b"\xfb" + "a \u4e2d e\u0301!".encode(), b"\x28[SEP] aab\t"),
    (b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  model.pt\n",),
)


def unpacked(path, out):
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as stored:
        for name in archive.namelist():
            if not name.endswith(".debug_pkl"):
                stored.writestr(zipfile.ZipInfo(name), archive.read(name))


def archives(folder, draw):
    for path in sorted((GOLDEN / "networks").glob("*.pt*")):
        (folder / path.name).write_bytes(path.read_bytes())
        unpacked(path, folder / f"{path.stem}.stored.pt")
        for number in range(4):
            data = bytearray((folder / f"{path.stem}.stored.pt").read_bytes())
            if number % 2:
                data = data[:draw.randrange(len(data))]
            else:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            (folder / f"{path.stem}.{number}.pt").write_bytes(data)


def images(folder, draw):
    for path in sorted((GOLDEN / "images").iterdir()):
        if path.suffix in (".jpg", ".png", ".bmp") and path.stat().st_size < 20_000:
            (folder / path.name).write_bytes(path.read_bytes())


def safetensors(folder, draw):
    for number, kind in enumerate(("F32", "I64", "BF16", "BOOL")):
        size = {"F32": 4, "I64": 8, "BF16": 2, "BOOL": 1}[kind]
        header = json.dumps({"__metadata__": {"step": "3"}, "weight": {"dtype": kind, "shape": [2, 3], "data_offsets": [0, 6 * size]},
                             "bias": {"dtype": "F32", "shape": [], "data_offsets": [6 * size, 6 * size + 4]}}).encode()
        (folder / str(number)).write_bytes(len(header).to_bytes(8, "little") + header + bytes(6 * size + 4))


def texts(folder, draw):
    for which, contents in enumerate(TEXTS):
        for number, content in enumerate(contents):
            (folder / f"{which}-{number}").write_bytes(bytes([which]) + content)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name, make in (("archive", archives), ("image", images), ("safetensors", safetensors), ("text", texts)):
        folder = args.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, random.Random(args.seed))
        print(f"{len(list(folder.iterdir()))} files in {folder}")


if __name__ == "__main__":
    main()
