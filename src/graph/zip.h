/// The directory of a zip archive (PKWARE's APPNOTE.TXT 6.3), as strictly as TorchScript files allow: every byte
/// belongs to one entry or to the directory, and what is written twice is the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <graft/limits.h>

#include "base/byte_source.h"

namespace graft::graph {

struct ZipEntry {
  std::string name;
  bool deflated = false;
  std::uint32_t crc = 0;     ///< of the content, unpacked
  std::uint64_t size = 0;    ///< unpacked
  std::uint64_t data = 0;    ///< where its bytes are
  std::uint64_t packed = 0;  ///< how many
};

/// In the order of their bytes. Throws Error kFormat: cut off, bytes that belong to nothing, entries that overlap or
/// lie outside, headers that disagree, encrypted, unsafe or equal names; kLimit. Contents are not read.
std::vector<ZipEntry> read_zip(const base::ByteSource& source, const ArchiveLimits& limits);

}  // namespace graft::graph
