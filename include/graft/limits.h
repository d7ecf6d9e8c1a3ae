/// How large a file may be before it is refused: limits that keep a hostile or damaged file from taking the memory.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>

namespace graft {

/// What Model::load reads of a TorchScript file; more is an Error kLimit. Checked before anything of that size is
/// allocated.
struct ArchiveLimits {
  std::uint64_t total_bytes = std::uint64_t{16} << 30;  ///< all records together, unpacked
  std::uint64_t records = 100'000;                      ///< files in the archive
  std::uint64_t compression_ratio = 100;                ///< unpacked size by size in the file, for records above 1 MiB
  std::uint64_t code_bytes = std::uint64_t{16} << 20;   ///< TorchScript source, all of it
  std::uint64_t pickle_bytes = std::uint64_t{8} << 20;  ///< data.pkl and constants.pkl, each
};

}  // namespace graft
