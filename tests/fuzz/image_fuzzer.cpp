// Picture files, mutated: nothing but a graft::Error may leave Image::decode.
//
// Half of the mutations of a PNG put its chunks' CRCs right, so that the decoder sees what was changed.

#include <array>
#include <cstring>
#include <string_view>

#include <graft/error.h>
#include <graft/image.h>

#include "base/crc32.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using Bytes = std::span<std::uint8_t>;

constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n";

std::uint32_t number_at(Bytes bytes, std::size_t at) {
  return std::uint32_t{bytes[at]} << 24 | std::uint32_t{bytes[at + 1]} << 16 | std::uint32_t{bytes[at + 2]} << 8 |
         bytes[at + 3];
}

void put_crcs_right(Bytes png) {
  if (png.size() < kPng.size() || std::memcmp(png.data(), kPng.data(), kPng.size()) != 0) return;
  for (std::size_t at = kPng.size(); at + 12 <= png.size();) {
    const std::size_t length = number_at(png, at);
    if (length > png.size() - at - 12) return;
    const auto crc = graft::base::crc32(std::as_bytes(png.subspan(at + 4, 4 + length)));
    for (std::size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
    at += 12 + length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  graft::DecodeOptions options;
  options.max_pixels = 1 << 22;
  if (size % 2 == 1) options.reduced = graft::ReducedSize{16, 16};
  try {
    (void)graft::Image::decode(std::as_bytes(std::span(data, size)), options, "fuzzed");
  } catch (const graft::Error&) {
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  const auto changed = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 2 == 0) put_crcs_right({data, changed});
  return changed;
}
