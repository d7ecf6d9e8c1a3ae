#include "engine/stamp.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace graft::engine {

namespace {

/// The first number, the last and two between them. More would cost what a small network takes.
std::uint64_t sample(const at::Tensor& tensor) {
  if (!tensor.is_cpu() || tensor.numel() == 0 || !tensor.is_non_overlapping_and_dense()) return 0;
  const auto* bytes = static_cast<const std::byte*>(tensor.const_data_ptr());
  const auto size = static_cast<std::size_t>(tensor.element_size());
  const auto last = static_cast<std::size_t>(tensor.numel()) - 1;
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i <= 3; ++i) {
    std::uint64_t number = 0;
    std::memcpy(&number, bytes + last * i / 3 * size, std::min(size, sizeof number));
    hash = (hash ^ number) * 0x100000001b3;  // FNV's prime
  }
  return hash;
}

}  // namespace

std::vector<Stamp> stamps_of(const std::vector<at::Tensor>& tensors) {
  std::vector<Stamp> stamps;
  stamps.reserve(tensors.size());
  for (const auto& tensor : tensors)
    stamps.push_back({tensor.const_data_ptr(), tensor.is_inference() ? 0 : tensor._version(), sample(tensor)});
  return stamps;
}

}  // namespace graft::engine
