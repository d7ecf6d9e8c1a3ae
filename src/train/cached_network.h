/// A model in training whose frozen part is evaluated once for each example, where that is exact.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/loader.h>
#include <graft/trainer.h>

#include "model/training_network.h"
#include "train/feature_cache.h"

namespace graft::train {

/// The model's network in two parts, and what the first of them yielded so far. Several data sets share it.
class CachedNetwork {
 public:
  /// Both must outlive it. Throws Error kConfig for options out of range.
  CachedNetwork(const Model& model, const TrainerOptions& options);

  /// Looks at what is frozen as the model is now, in training mode; what was kept of another is forgotten. Returns
  /// whether it is another. Throws Error kIo for a directory that cannot be used.
  bool refresh();

  bool has_trunk() const { return network_.has_trunk(); }
  /// Null where nothing is kept. May be called from many threads.
  std::shared_ptr<FeatureCache> cache() const;
  /// The same if no frozen weight has changed since refresh(); else nothing is kept until the next.
  std::shared_ptr<FeatureCache> current_cache();

  /// What the frozen part yields for a batch [N, 3, H, W]; if nothing else can be, it is the batch.
  at::Tensor features(const at::Tensor& images);
  /// Logits for features(): in training mode with gradients, else without.
  at::Tensor forward(const at::Tensor& features) const;

  /// What a forward pass in training mode changes.
  std::vector<at::Tensor> changing_buffers() const { return network_.changing_buffers(); }

  /// One batch of examples behind the other.
  at::Tensor joined(const at::Tensor& first, const at::Tensor& second) const;

  /// FeatureFile::extent() of what is kept now; empty where it is not in a file.
  std::pair<std::string, std::size_t> kept_extent() const;

  /// Keeps a row for each key, as far as there is room.
  void keep(const std::vector<std::string>& keys, const at::Tensor& rows);

 private:
  void forget();
  std::string space() const;
  bool rows_stand_alone(const at::Tensor& images, const at::Tensor& features) const;

  const Model& model_;
  const TrainerOptions& options_;
  model::TrainingNetwork network_;
  mutable std::mutex mutex_;  ///< of cache_
  std::shared_ptr<FeatureCache> cache_;
  bool checked_ = false;  ///< that rows stand alone
  bool warned_ = false;
};

/// A data set as the network sees it.
class Examples {
 public:
  /// All must outlive it. `training`: with the data set's augmentation.
  Examples(CachedNetwork& network, const Dataset& data, const TrainerOptions& options, bool training);
  Examples(const Examples&) = delete;
  Examples& operator=(const Examples&) = delete;

  /// Whether what the frozen part yields is kept, where that is possible.
  bool may_keep() const { return may_keep_; }
  /// For a loader that leaves out the pictures that are not needed. This must outlive it.
  LoaderOptions for_loader(LoaderOptions options);

  /// What the frozen part yields for a batch of that loader.
  at::Tensor features(const Batch& batch, const DataLoader& loader);
  /// Logits for it.
  at::Tensor logits(const Batch& batch, const DataLoader& loader) { return network_.forward(features(batch, loader)); }

 private:
  bool is_known(std::size_t index, std::uint64_t epoch);
  std::string key(std::size_t index, std::uint64_t epoch) const;
  /// The key of the batch's row as it was when the loader asked; empty if its content is not known.
  std::string seen(const Batch& batch, std::int64_t row) const;
  void keep(const Batch& batch, const std::vector<std::int64_t>& rows, const at::Tensor& features);

  CachedNetwork& network_;
  const Dataset& data_;
  const TrainerOptions& options_;
  bool augments_;
  bool may_keep_;
  mutable std::mutex mutex_;                                           ///< of seen_
  std::map<std::pair<std::size_t, std::uint64_t>, std::string> seen_;  ///< by index and, with augmentation, epoch
};

}  // namespace graft::train
