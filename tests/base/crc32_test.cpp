#include "base/crc32.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace graft::base {
namespace {

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

/// By the definition: one bit after the other.
std::uint32_t by_definition(std::span<const std::byte> data) {
  std::uint32_t crc = ~0u;
  for (const auto byte : data) {
    crc ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
  }
  return ~crc;
}

TEST(Crc32, IsTheStandards) {
  EXPECT_EQ(crc32(bytes("123456789")), 0xCBF43926u);  // the check value of CRC-32/ISO-HDLC
  EXPECT_EQ(crc32({}), 0u);
}

TEST(Crc32, OfEveryLengthAndAlignment) {
  std::mt19937 random(1);
  std::vector<std::byte> data(400);
  for (auto& byte : data) byte = static_cast<std::byte>(random());
  for (std::size_t begin = 0; begin < 20; ++begin)
    for (std::size_t count = 0; begin + count <= data.size(); ++count) {
      const auto part = std::span(data).subspan(begin, count);
      ASSERT_EQ(crc32(part), by_definition(part)) << begin << " " << count;
    }
}

TEST(Crc32, GoesOnFromAnother) {
  const std::string text(1000, 'x');
  for (const std::size_t at : {0, 1, 7, 64, 500, 999, 1000})
    EXPECT_EQ(crc32(bytes(text.substr(at)), crc32(bytes(text.substr(0, at)))), crc32(bytes(text)));
}

}  // namespace
}  // namespace graft::base
