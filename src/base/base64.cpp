#include "base/base64.h"

#include <openssl/evp.h>

#include <graft/error.h>

namespace graft::base {

std::string base64(std::span<const std::byte> bytes) {
  constexpr std::size_t kMost = std::size_t{1} << 30;  // OpenSSL counts in int
  if (bytes.size() > kMost)
    throw Error(ErrorCode::kLimit, "base64: expected at most 1 GiB, found " + std::to_string(bytes.size()) + " bytes");
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL ends it with a zero
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  text.pop_back();
  return text;
}

}  // namespace graft::base
