/// Files that are whole or not there: how everything the library saves is written.
/// Thread-safety: safe for different paths.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <graft/export.h>

namespace graft {

/// Writes to a temporary file beside `path`, syncs it, renames it over `path` and syncs the directory: at every moment
/// `path` is the old file or the new one. Throws Error kIo, kOutOfMemory; the old file is then untouched and the
/// temporary one removed. Only where the sync of the directory fails is the new one there, and the message says so.
GRAFT_EXPORT void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
GRAFT_EXPORT void write_atomically(const std::filesystem::path& path, std::string_view bytes);  ///< the same

/// Throws Error kIo unless a file could be created at `path` now (its directory exists and is writable).
GRAFT_EXPORT void check_writable(const std::filesystem::path& path);

/// A float32 tensor of any shape as NumPy's .npy, version 1.0 (numpy.lib.format), in C order. Throws Error kConfig for
/// another type, kIo.
GRAFT_EXPORT void write_npy(const std::filesystem::path& path, const at::Tensor& tensor);

}  // namespace graft
