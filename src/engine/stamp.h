/// Whether tensors still are what they were.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace graft::engine {

/// Every change of a tensor in place counts its version up.
struct Stamp {
  const void* data;
  std::int64_t version;
  bool operator==(const Stamp&) const = default;
};

inline std::vector<Stamp> stamps_of(const std::vector<at::Tensor>& tensors) {
  std::vector<Stamp> stamps;
  stamps.reserve(tensors.size());
  for (const auto& tensor : tensors)
    stamps.push_back({tensor.const_data_ptr(), tensor.is_inference() ? 0 : tensor._version()});
  return stamps;
}

}  // namespace graft::engine
