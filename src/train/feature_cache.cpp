#include "train/feature_cache.h"

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

FeatureCache::FeatureCache(std::int64_t max_bytes, std::unique_ptr<FeatureFile> file)
    : max_bytes_(max_bytes), file_(std::move(file)) {
  if (!file_) return;
  shape_ = file_->shape();
  rows_.insert(file_->rows().begin(), file_->rows().end());
}

bool FeatureCache::contains(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  return rows_.contains(key);
}

at::Tensor FeatureCache::rows(std::span<const std::string> keys) const {
  auto shape = block_shape(shape_);
  shape.insert(shape.begin(), std::ssize(keys));
  const auto batch = at::empty(shape, at::kFloat);
  const auto bytes = batch.nbytes() / keys.size();
  auto* to = static_cast<std::byte*>(batch.mutable_data_ptr());
  const std::lock_guard lock(mutex_);
  for (const auto& key : keys) to = static_cast<std::byte*>(std::memcpy(to, rows_.at(key), bytes)) + bytes;
  return from_blocks(batch);
}

bool FeatureCache::insert(std::span<const std::string> keys, const at::Tensor& rows) {
  const auto shape = rows.sizes().slice(1).vec();
  if (shape_.empty()) {
    shape_ = shape;
    if (file_) file_->set_shape(shape);
  }
  if (shape != shape_) return false;
  const auto made = blocks(rows.to(at::kCPU));
  bool all = true;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (contains(keys[i])) continue;
    const auto* kept = keep(keys[i], made[static_cast<std::int64_t>(i)]);
    all = all && kept;
    if (!kept) continue;
    const std::lock_guard lock(mutex_);
    rows_.emplace(keys[i], kept);
  }
  return all;
}

const std::byte* FeatureCache::keep(const std::string& key, const at::Tensor& row) {
  const auto* data = static_cast<const std::byte*>(row.const_data_ptr());
  if (file_ && file_->can_append()) return file_->append(key, {data, row.nbytes()});
  const auto bytes = static_cast<std::int64_t>(row.nbytes());
  if (in_memory_bytes_ + bytes > max_bytes_) return nullptr;
  in_memory_bytes_ += bytes;
  in_memory_.push_back(row.clone());
  return static_cast<const std::byte*>(in_memory_.back().const_data_ptr());
}

}  // namespace graft::train
