#!/usr/bin/env python3
"""The corpus of archive_fuzzer: the networks of tests/golden, as they are, and with their source unpacked and no debug records, so that
the fuzzer can change it; and each of them cut off, or with a byte changed, a few times over.

    make_archive_corpus.py FOLDER [--seed 0]
"""
import argparse
import pathlib
import random
import zipfile

NETWORKS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "networks"


def unpacked(path, out):
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as stored:
        for name in archive.namelist():
            if not name.endswith(".debug_pkl"):
                stored.writestr(zipfile.ZipInfo(name), archive.read(name))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(args.seed)
    for path in sorted(NETWORKS.glob("*.pt*")):
        (args.folder / path.name).write_bytes(path.read_bytes())
        unpacked(path, args.folder / f"{path.stem}.stored.pt")
        for number in range(4):
            data = bytearray((args.folder / f"{path.stem}.stored.pt").read_bytes())
            if number % 2:
                data = data[:draw.randrange(len(data))]
            else:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            (args.folder / f"{path.stem}.{number}.pt").write_bytes(data)
    print(f"{len(list(args.folder.iterdir()))} files in {args.folder}")


if __name__ == "__main__":
    main()
