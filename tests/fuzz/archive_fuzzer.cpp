// Archives, mutated: nothing but a graft::Error may leave Network::load.
//
// Mutated bytes seldom get beyond the CRCs. So half of the mutations change one record's content and write the archive
// anew, with everything right around it: then LibTorch reads it.

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

#include <graft/error.h>

#include "graph/network.h"
#include "support/zip_file.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

graft::ArchiveLimits small_limits() {
  graft::ArchiveLimits limits;
  limits.total_bytes = 64 << 20;
  return limits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  graft::graph::ExtraFiles extra{{"graft.json", ""}};
  try {
    const graft::base::MemorySource source(std::as_bytes(std::span(data, size)));
    graft::graph::Network::load(source, "fuzzed", extra, small_limits());
  } catch (const graft::Error&) {
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  std::minstd_rand random(seed);
  if (random() % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::string bytes;
  try {
    auto file = graft::testing::ZipFile::read({reinterpret_cast<const char*>(data), size});
    auto& record = file.records[random() % file.records.size()];
    if (record.method != 0) return LLVMFuzzerMutate(data, size, max_size);
    std::string content = record.content;
    const auto before = content.size();
    content.resize(before + 64);
    content.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(content.data()), before, content.size()));
    record = {record.name, std::move(content)};
    bytes = file.bytes();
  } catch (const graft::Error&) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  if (bytes.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}
