/// Lists of files with their SHA-256, as sha256sum writes and reads them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace graft::base {

/// Throws Error kMismatch unless `manifest` lists `path` (names in it are relative to its folder) with the SHA-256 of
/// `bytes`; kFormat for a line that is no "HASH  NAME", kIo.
void check_listed(const std::filesystem::path& manifest, const std::filesystem::path& path,
                  std::span<const std::byte> bytes);

}  // namespace graft::base
