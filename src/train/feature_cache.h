/// Rows of numbers by what they were computed from: in memory, or in a file that processes share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <ATen/core/Tensor.h>

#include "train/device_rows.h"
#include "train/feature_file.h"

namespace graft::train {

/// [rows of both, ...], on a's device: a's rows at `a_rows`, b's at `b_rows`.
at::Tensor merged(const at::Tensor& a, const std::vector<std::int64_t>& a_rows, const at::Tensor& b,
                  const std::vector<std::int64_t>& b_rows);

/// Rows of one shape, float32. A key (64 characters) says all that its row depends on. contains() may be called from
/// many threads beside one that calls the others.
class FeatureCache {
 public:
  /// Keeps at most `max_bytes` in memory; with a file what that holds and takes, and in memory what cannot be appended.
  /// On a CUDA `device` rows are kept there first, as far as there is room (DeviceRows).
  explicit FeatureCache(std::int64_t max_bytes, std::unique_ptr<FeatureFile> file = nullptr,
                        c10::Device device = at::kCPU, std::optional<std::int64_t> max_device_bytes = {});

  bool contains(const std::string& key) const;

  /// Null where it is all in memory.
  const FeatureFile* file() const { return file_.get(); }

  /// [keys, ...], on the device if one of them is there or all can go there, else on the CPU; a map of features has its
  /// channels last. All keys must be there. Throws Error kIo for a file that another program has cut off.
  at::Tensor rows(std::span<const std::string> keys) const;

  /// Keeps rows[i], [keys, ...] of float32, for keys[i] where none is kept. False if there was no room for all of them,
  /// or if their shape is not that of those before.
  bool insert(std::span<const std::string> keys, const at::Tensor& rows);

 private:
  at::Tensor host_rows(std::span<const std::string> keys) const;
  bool on_host(const std::string& key) const;
  bool insert_on_host(std::span<const std::string> keys, const at::Tensor& rows);
  /// Where a row is kept.
  struct Place {
    const std::byte* in_memory = nullptr;  ///< null: in the file
    std::size_t in_file = 0;
  };
  /// Nothing if there is no room.
  std::optional<Place> keep(const std::string& key, const at::Tensor& row);

  const std::int64_t max_bytes_;
  std::unique_ptr<FeatureFile> file_;
  std::vector<std::int64_t> shape_;  ///< of a row; empty until there is one
  mutable std::mutex mutex_;         ///< of rows_ and device_rows_
  mutable std::optional<DeviceRows> device_rows_;
  std::unordered_map<std::string, Place> rows_;
  std::vector<at::Tensor> in_memory_;
  std::int64_t in_memory_bytes_ = 0;
};

}  // namespace graft::train
