/// LibTorch's archive reader over bytes in memory.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include <caffe2/serialize/read_adapter_interface.h>

namespace graft::graph {

class MemoryReader : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit MemoryReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t size() const override { return bytes_.size(); }

  std::size_t read(std::uint64_t position, void* out, std::size_t count, const char*) const override {
    if (position >= bytes_.size()) return 0;
    count = std::min(count, bytes_.size() - static_cast<std::size_t>(position));
    std::memcpy(out, bytes_.data() + position, count);
    return count;
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace graft::graph
