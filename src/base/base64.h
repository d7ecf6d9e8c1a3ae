/// Base64 (RFC 4648, with padding), by OpenSSL.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace graft::base {

std::string base64(std::span<const std::byte> bytes);

}  // namespace graft::base
