/// Whether tensors still are what they were.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace graft::engine {

/// Every change of a tensor in place counts its version up, but for those through .data() and those of inference
/// tensors. On the CPU a few of its numbers show most of these.
struct Stamp {
  const void* data;
  std::int64_t version;
  std::uint64_t sample;
  bool operator==(const Stamp&) const = default;
};

std::vector<Stamp> stamps_of(const std::vector<at::Tensor>& tensors);

}  // namespace graft::engine
