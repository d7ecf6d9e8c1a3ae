/// Rows of numbers in a device's memory, by what they were computed from.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <ATen/core/Tensor.h>

namespace graft::train {

/// As many as fit. One thread at a time.
class DeviceRows {
 public:
  /// At most `max_bytes`; without it, on CUDA, as much as stays free, whenever more is needed: training has taken what
  /// it needs by the time that the rows are many.
  DeviceRows(c10::Device device, std::optional<std::int64_t> max_bytes) : device_(device), max_bytes_(max_bytes) {}

  bool contains(const std::string& key) const { return places_.contains(key); }

  /// Keeps rows[i], [keys, ...] of float32 on any device, for keys[i]. False, and none kept, where there is no room for
  /// all of them.
  bool insert(std::span<const std::string> keys, const at::Tensor& rows);

  /// [keys, ...] on the device. All keys must be there.
  at::Tensor rows(std::span<const std::string> keys) const;

 private:
  bool grow(std::int64_t rows);

  const c10::Device device_;
  std::optional<std::int64_t> max_bytes_;
  at::Tensor memory_;  ///< [room, ...]; undefined until there is a row
  std::unordered_map<std::string, std::int64_t> places_;
};

}  // namespace graft::train
