// Where the processor multiplies without carry, by folding: V. Gopal et al., "Fast CRC Computation for Generic
// Polynomials Using PCLMULQDQ Instruction", Intel, 2009. Elsewhere by tables, eight bytes at a time: M. E. Kounavis, F.
// L. Berry, "A Systematic Approach to Building High Performance Software-Based CRC Generators", 2005.

#include "base/crc32.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define GRAFT_CRC32_FOLDS 1
#include <immintrin.h>
#endif

namespace graft::base {

namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t table = 1; table < 8; ++table)
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[table][byte] = tables[table - 1][byte] >> 8 ^ tables[0][tables[table - 1][byte] & 255];
  return tables;
}
constexpr Tables kTables = make_tables();

std::uint32_t by_tables(std::span<const std::byte> bytes, std::uint32_t crc) {
  static_assert(std::endian::native == std::endian::little);
  while (bytes.size() >= 8) {
    std::array<std::uint32_t, 2> word;
    std::memcpy(word.data(), bytes.data(), 8);
    word[0] ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][word[i / 4] >> (i % 4 * 8) & 255];
    bytes = bytes.subspan(8);
  }
  for (const auto byte : bytes) crc = crc >> 8 ^ kTables[0][(crc ^ std::to_integer<std::uint32_t>(byte)) & 255];
  return crc;
}

#ifdef GRAFT_CRC32_FOLDS
#define GRAFT_FOLDING __attribute__((target("pclmul,sse4.1")))

/// Remainders of powers of x, bits reversed: 4 * 128 + 64 and 4 * 128 - 32 bits ahead, and the same for 128 bits.
constexpr std::array<std::uint64_t, 2> kAhead512{0x154442bd4, 0x1c6e41596};
constexpr std::array<std::uint64_t, 2> kAhead128{0x1751997d0, 0x0ccaa009e};

GRAFT_FOLDING inline __m128i load(const std::byte* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

/// `sum` moved ahead, added to what stands there.
GRAFT_FOLDING inline __m128i fold(__m128i sum, __m128i ahead, __m128i there) {
  return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(sum, ahead, 0x00), _mm_clmulepi64_si128(sum, ahead, 0x11)),
                       there);
}

/// Folds all of `bytes`, at least 64 and a multiple of 16, into 16 that have the same remainder.
GRAFT_FOLDING std::array<std::byte, 16> folded(std::span<const std::byte> bytes, std::uint32_t crc) {
  const auto* at = bytes.data();
  const auto* const end = at + bytes.size();
  const __m128i far = load(reinterpret_cast<const std::byte*>(kAhead512.data()));
  const __m128i near = load(reinterpret_cast<const std::byte*>(kAhead128.data()));
  __m128i a = _mm_xor_si128(load(at), _mm_cvtsi32_si128(static_cast<int>(crc)));
  __m128i b = load(at + 16), c = load(at + 32), d = load(at + 48);
  for (at += 64; end - at >= 64; at += 64) {
    a = fold(a, far, load(at));
    b = fold(b, far, load(at + 16));
    c = fold(c, far, load(at + 32));
    d = fold(d, far, load(at + 48));
  }
  a = fold(fold(fold(a, near, b), near, c), near, d);
  for (; at != end; at += 16) a = fold(a, near, load(at));
  std::array<std::byte, 16> result;
  std::memcpy(result.data(), &a, sizeof a);
  return result;
}
#endif

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t previous) {
  std::uint32_t crc = ~previous;
#ifdef GRAFT_CRC32_FOLDS
  if (bytes.size() >= 64 && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) {
    const auto blocks = bytes.size() / 16 * 16;
    crc = by_tables(folded(bytes.first(blocks), crc), 0);
    bytes = bytes.subspan(blocks);
  }
#endif
  return ~by_tables(bytes, crc);
}

}  // namespace graft::base
