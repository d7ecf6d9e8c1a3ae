#include "train/feature_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <ATen/ATen.h>

namespace graft::train {

namespace {

/// Each row one block of memory: maps of features with their channels last, as the networks make them.
at::Tensor blocks(const at::Tensor& rows) { return (rows.dim() == 4 ? rows.permute({0, 2, 3, 1}) : rows).contiguous(); }

/// The shape of a row's block for that of the row, and the batch for a batch of blocks.
std::vector<std::int64_t> block_shape(std::vector<std::int64_t> shape) {
  if (shape.size() == 3) shape = {shape[1], shape[2], shape[0]};
  return shape;
}
at::Tensor from_blocks(const at::Tensor& rows) { return rows.dim() == 4 ? rows.permute({0, 3, 1, 2}) : rows; }

}  // namespace

at::Tensor merged(const at::Tensor& a, const std::vector<std::int64_t>& a_rows, const at::Tensor& b,
                  const std::vector<std::int64_t>& b_rows) {
  auto sizes = a.sizes().vec();
  sizes[0] = std::ssize(a_rows) + std::ssize(b_rows);
  auto all = at::empty(sizes, a.options(), a.suggest_memory_format());
  const auto positions = [&](const std::vector<std::int64_t>& rows) {
    return at::tensor(rows, at::kLong).to(a.device());
  };
  all.index_copy_(0, positions(a_rows), a);
  all.index_copy_(0, positions(b_rows), b.to(a.device()));
  return all;
}

FeatureCache::FeatureCache(std::int64_t max_bytes, std::unique_ptr<FeatureFile> file, c10::Device device,
                           std::optional<std::int64_t> max_device_bytes)
    : max_bytes_(max_bytes), file_(std::move(file)) {
  if (device.is_cuda()) device_rows_.emplace(device, max_device_bytes);
  if (!file_) return;
  shape_ = file_->shape();
  for (const auto& [key, at] : file_->rows()) rows_.emplace(key, Place{.in_file = at});
}

bool FeatureCache::contains(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  return rows_.contains(key) || (device_rows_ && device_rows_->contains(key));
}

bool FeatureCache::on_host(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  return rows_.contains(key);
}

at::Tensor FeatureCache::rows(std::span<const std::string> keys) const {
  if (!device_rows_) return host_rows(keys);
  std::vector<std::string> there, here;
  std::vector<std::int64_t> there_rows, here_rows;
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const bool on_device = device_rows_->contains(keys[i]);
      (on_device ? there : here).push_back(keys[i]);
      (on_device ? there_rows : here_rows).push_back(static_cast<std::int64_t>(i));
    }
  }
  const auto from_here = here.empty() ? at::Tensor() : host_rows(here);
  const std::lock_guard lock(mutex_);
  if (here.empty() || device_rows_->insert(here, from_here)) return device_rows_->rows(keys);
  return there.empty() ? from_here : merged(device_rows_->rows(there), there_rows, from_here, here_rows);
}

at::Tensor FeatureCache::host_rows(std::span<const std::string> keys) const {
  auto shape = block_shape(shape_);
  shape.insert(shape.begin(), std::ssize(keys));
  const auto batch = at::empty(shape, at::kFloat);
  const auto bytes = batch.nbytes() / keys.size();
  auto* to = static_cast<std::byte*>(batch.mutable_data_ptr());
  std::vector<Place> places;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& key : keys) places.push_back(rows_.at(key));
  }
  for (const auto& place : places) {
    if (place.in_memory) {
      std::memcpy(to, place.in_memory, bytes);
    } else {
      file_->read_row(place.in_file, {to, bytes});
    }
    to += bytes;
  }
  return from_blocks(batch);
}

bool FeatureCache::insert(std::span<const std::string> keys, const at::Tensor& rows) {
  const auto shape = rows.sizes().slice(1).vec();
  if (shape_.empty()) {
    shape_ = shape;
    if (file_) file_->set_shape(shape);
  }
  if (shape != shape_) return false;
  bool all_on_device = false;
  if (device_rows_) {
    const std::lock_guard lock(mutex_);
    all_on_device = device_rows_->insert(keys, rows);
  }
  return (all_on_device && !file_) || insert_on_host(keys, rows) || all_on_device;
}

bool FeatureCache::insert_on_host(std::span<const std::string> keys, const at::Tensor& rows) {
  const auto made = blocks(rows.to(at::kCPU));
  bool all = true;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (on_host(keys[i])) continue;
    const auto kept = keep(keys[i], made[static_cast<std::int64_t>(i)]);
    all = all && kept;
    if (!kept) continue;
    const std::lock_guard lock(mutex_);
    rows_.emplace(keys[i], *kept);
  }
  return all;
}

std::optional<FeatureCache::Place> FeatureCache::keep(const std::string& key, const at::Tensor& row) {
  const auto* data = static_cast<const std::byte*>(row.const_data_ptr());
  if (file_ && file_->can_append()) {
    const auto at = file_->append(key, {data, row.nbytes()});
    return at ? std::optional(Place{.in_file = *at}) : std::nullopt;
  }
  const auto bytes = static_cast<std::int64_t>(row.nbytes());
  if (in_memory_bytes_ + bytes > max_bytes_) return std::nullopt;
  in_memory_.push_back(row.clone());
  in_memory_bytes_ += bytes;
  return Place{.in_memory = static_cast<const std::byte*>(in_memory_.back().const_data_ptr())};
}

}  // namespace graft::train
