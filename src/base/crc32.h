/// CRC-32 as zip, gzip and PNG use it (ISO 3309).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace graft::base {

/// Of the bytes that `previous` is the CRC of, followed by `bytes`.
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t previous = 0);

}  // namespace graft::base
