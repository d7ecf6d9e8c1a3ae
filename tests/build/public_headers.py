"""The public headers, as tests of them see them."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]  # that users may have switched on


def include_options(include_dirs):
    """Of these folders; LibTorch's and OpenCV's are system folders, of which nothing is a warning."""
    own = [folder for folder in include_dirs if folder.startswith(str(ROOT)) and "/torch" not in folder]
    return [part for folder in include_dirs for part in (("-I" if folder in own else "-isystem"), folder)]


def public_headers(include_dirs):
    """Names as in #include <...>, sorted; graft/opencv.h only where OpenCV's headers are on the include path."""
    names = sorted(f"graft/{path.name}" for path in (ROOT / "include" / "graft").glob("*.h"))
    if not any((pathlib.Path(folder) / "opencv2/core/mat.hpp").exists() for folder in include_dirs):
        names.remove("graft/opencv.h")
    return [*names, "graft/version.h"]
