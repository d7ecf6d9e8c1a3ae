#!/usr/bin/env python3
"""Every public header compiles alone, with warnings that users may have switched on: with the compiler given.

    headers_alone_test.py CXX INCLUDE_DIR...         LibTorch's and OpenCV's folders are system folders
"""
import concurrent.futures
import subprocess
import sys

from public_headers import ROOT, public_headers


def main():
    compiler, folders = sys.argv[1], sys.argv[2:]
    own = [folder for folder in folders if folder.startswith(str(ROOT)) and "/torch" not in folder]
    includes = [part for folder in folders for part in (("-I" if folder in own else "-isystem"), folder)]
    flags = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]

    def check(header):
        return subprocess.run([compiler, *flags, *includes, "-x", "c++", "-"], input=f"#include <{header}>\n", text=True,
                              capture_output=True)

    names = public_headers(folders)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = dict(zip(names, pool.map(check, names)))
    for name, result in results.items():
        print(f"{name}: {'ok' if result.returncode == 0 else result.stderr}")
    sys.exit(any(result.returncode for result in results.values()) or not results)


if __name__ == "__main__":
    main()
