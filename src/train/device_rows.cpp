#include "train/device_rows.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>

namespace graft::train {

namespace {

/// Rows at first; twice as many whenever that is too few.
constexpr std::int64_t kFirstRoom = 256;

at::Tensor on_device(const std::vector<std::int64_t>& places, c10::Device device) {
  const auto here = at::empty({std::ssize(places)}, at::TensorOptions(at::kLong).pinned_memory(device.is_cuda()));
  std::ranges::copy(places, here.mutable_data_ptr<std::int64_t>());
  return here.to(device, /*non_blocking=*/true);
}

std::int64_t free_bytes(c10::Device device) {
  return static_cast<std::int64_t>(c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first);
}

}  // namespace

bool DeviceRows::insert(std::span<const std::string> keys, const at::Tensor& rows) {
  if (!memory_.defined()) {
    auto sizes = rows.sizes().vec();
    sizes[0] = 0;
    memory_ = at::empty(sizes, at::TensorOptions(device_).dtype(at::kFloat), rows.suggest_memory_format());
  }
  if (rows.sizes().slice(1) != memory_.sizes().slice(1)) return false;
  const auto before = std::ssize(places_);
  if (!grow(before + std::ssize(keys))) return false;
  std::vector<std::int64_t> from;
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (places_.emplace(keys[i], std::ssize(places_)).second) from.push_back(static_cast<std::int64_t>(i));
  if (from.empty()) return true;
  const auto given = rows.to(device_, /*non_blocking=*/true);
  memory_.narrow(0, before, std::ssize(from))
      .copy_(from.size() == keys.size() ? given : given.index_select(0, on_device(from, device_)));
  return true;
}

bool DeviceRows::grow(std::int64_t rows) {
  if (rows <= memory_.size(0)) return true;
  auto sizes = memory_.sizes().vec();
  const auto row_bytes = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(memory_.element_size()) * c10::multiply_integers(memory_.sizes().slice(1)));
  const auto most = max_bytes_ ? *max_bytes_ : (static_cast<std::int64_t>(memory_.nbytes()) + free_bytes(device_)) / 2;
  sizes[0] = std::min(std::max({rows, 2 * memory_.size(0), kFirstRoom}), most / row_bytes);
  if (sizes[0] < rows) return false;
  try {
    const auto larger = at::empty(sizes, memory_.options(), memory_.suggest_memory_format());
    larger.narrow(0, 0, memory_.size(0)).copy_(memory_);
    memory_ = larger;
  } catch (const c10::OutOfMemoryError&) {
    max_bytes_ = memory_.size(0) * row_bytes;
    return false;
  }
  return true;
}

at::Tensor DeviceRows::rows(std::span<const std::string> keys) const {
  std::vector<std::int64_t> places;
  for (const auto& key : keys) places.push_back(places_.at(key));
  return memory_.index_select(0, on_device(places, device_));
}

}  // namespace graft::train
