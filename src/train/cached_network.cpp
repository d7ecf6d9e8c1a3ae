#include "train/cached_network.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>

#include "base/check.h"
#include "base/sha256.h"
#include "base/torch_device.h"
#include "base/torch_version.h"
#include "data/identity.h"
#include "data/rows.h"
#include "model/input.h"

namespace graft::train {

namespace {

std::string hash(const std::string& text) { return base::Sha256().update(text).hex(); }

at::Tensor positions(const std::vector<std::int64_t>& rows, const at::Tensor& beside) {
  return at::tensor(rows, at::kLong).to(beside.device());
}

}  // namespace

// --- The network

CachedNetwork::CachedNetwork(const Model& model, const TrainerOptions& options)
    : model_(model), options_(options), network_(model) {
  const auto& cache = options.feature_cache;
  base::require(cache.max_bytes >= 0, "feature_cache.max_bytes", "0 or more", cache.max_bytes);
  base::require(cache.augmented_variants >= 0, "feature_cache.augmented_variants", "0 or more",
                cache.augmented_variants);
  base::require(cache.max_device_bytes.value_or(0) >= 0, "feature_cache.max_device_bytes", "0 or more",
                cache.max_device_bytes.value_or(0));
}

bool CachedNetwork::refresh() {
  if (!network_.refresh()) return false;
  const auto& o = options_.feature_cache;
  std::shared_ptr<FeatureCache> next;
  if (o.enabled && network_.has_trunk()) {
    auto file = o.directory.empty()
                    ? nullptr
                    : std::make_unique<FeatureFile>(o.directory, space(), o.max_bytes, options_.on_warning);
    next = std::make_shared<FeatureCache>(o.max_bytes, std::move(file), base::to_torch(model_.device()),
                                          o.max_device_bytes);
  }
  checked_ = warned_ = false;
  const std::lock_guard lock(mutex_);
  cache_ = std::move(next);
  return true;
}

std::shared_ptr<FeatureCache> CachedNetwork::cache() const {
  const std::lock_guard lock(mutex_);
  return cache_;
}

std::pair<std::string, std::size_t> CachedNetwork::kept_extent() const {
  const auto kept = cache();
  return kept && kept->file() ? kept->file()->extent() : std::pair<std::string, std::size_t>();
}

std::shared_ptr<FeatureCache> CachedNetwork::current_cache() {
  if (!network_.trunk_is_current()) forget();
  return cache();
}

void CachedNetwork::forget() {
  const std::lock_guard lock(mutex_);
  cache_.reset();
}

/// All that features depend on beside the picture.
std::string CachedNetwork::space() const {
  std::string text;
  for (const std::string& part :
       {std::string("graft " GRAFT_VERSION_TEXT), base::running_torch_version(), at::get_cpu_capability(),
        std::string(image_decoder()), model::input_json(model_.input()), std::string(to_string(options_.precision)),
        std::string(model_.device().is_cuda() ? "cuda" : "cpu"), network_.trunk_hash()})
    text += part + "\n";
  return hash(text);
}

at::Tensor CachedNetwork::joined(const at::Tensor& first, const at::Tensor& second) const {
  return data::joined(first, second, model_.input());
}

at::Tensor CachedNetwork::features(const at::Tensor& images) {
  if (!has_trunk()) return images;
  const auto features = network_.features(images, options_.precision);
  if (cache() && !std::exchange(checked_, true) && !rows_stand_alone(images, features)) forget();
  return features;
}

at::Tensor CachedNetwork::forward(const at::Tensor& features) const {
  return has_trunk() ? network_.forward(features, options_.precision) : model_.forward(features, options_.precision);
}

/// Whether each row is one picture's, whatever else is in the batch: not so where a layer normalises over the batch, or
/// where the first dimension is another one.
bool CachedNetwork::rows_stand_alone(const at::Tensor& images, const at::Tensor& features) const {
  if (features.dim() < 2 || features.size(0) != images.size(0)) return false;
  const auto first = images.narrow(0, 0, 1);
  const auto other = takes_text(model_.input()) ? first.flip(1) : first.neg();
  const auto beside_another = network_.features(at::cat({first, other}), options_.precision);
  if (beside_another.size(0) != 2 || beside_another[0].sizes() != features[0].sizes()) return false;
  const double scale = std::max(1.0, features[0].abs().nan_to_num(0, 0, 0).max().item<double>());
  const double exact = features.is_cuda() ? 1e-2 : 1e-3;  // cuDNN convolves in TF32, other sizes by other algorithms
  const double tolerance = options_.precision == Precision::kFloat32 ? exact : 0.05;
  return at::allclose(beside_another[0], features[0], /*rtol=*/0, tolerance * scale, /*equal_nan=*/true);
}

void CachedNetwork::keep(const std::vector<std::string>& keys, const at::Tensor& rows) {
  const auto kept = cache();
  if (!kept || kept->insert(keys, rows) || std::exchange(warned_, true) || !options_.on_warning) return;
  options_.on_warning("the feature cache has no room for more than its " +
                      std::to_string(options_.feature_cache.max_bytes) +
                      " bytes: the frozen layers' output for other pictures is computed anew in every epoch");
}

// --- A data set

Examples::Examples(CachedNetwork& network, const Dataset& data, const TrainerOptions& options, bool training)
    : network_(network),
      data_(data),
      options_(options),
      augments_(training && data.augment().enabled()),
      may_keep_(options.feature_cache.enabled && (!augments_ || options.feature_cache.augmented_variants > 0)) {}

LoaderOptions Examples::for_loader(LoaderOptions options) {
  if (!may_keep_) return options;
  options.skip_image = [this](std::size_t index, std::uint64_t epoch) { return is_known(index, epoch); };
  return options;
}

std::string Examples::key(std::size_t index, std::uint64_t epoch) const {
  std::string content = data_.content_id(index);
  if (content.empty()) return {};
  if (augments_)
    content += "\n" + data::to_text(data_.augment()) + "\n" + std::to_string(options_.seed) + " " +
               std::to_string(epoch) + " " + std::to_string(index);
  return hash(content);
}

bool Examples::is_known(std::size_t index, std::uint64_t epoch) {
  const auto cache = network_.cache();
  const auto found = cache ? key(index, epoch) : std::string();
  {
    const std::lock_guard lock(mutex_);
    seen_[{index, augments_ ? epoch : 0}] = found;
  }
  return cache && !found.empty() && cache->contains(found);
}

std::string Examples::seen(const Batch& batch, std::int64_t row) const {
  const auto at = static_cast<std::size_t>(row);
  const std::lock_guard lock(mutex_);
  const auto it = seen_.find({batch.indices[at], augments_ ? batch.epochs[at] : 0});
  return it == seen_.end() ? std::string() : it->second;
}

at::Tensor Examples::features(const Batch& batch, const DataLoader& loader) {
  const auto cache = network_.current_cache();
  std::vector<std::int64_t> lost, known;
  std::vector<std::string> known_keys;
  for (std::int64_t row = 0; row < batch.size(); ++row) {
    if (std::binary_search(batch.image_rows.begin(), batch.image_rows.end(), row)) continue;
    auto key = seen(batch, row);
    if (cache && cache->contains(key)) {
      known.push_back(row);
      known_keys.push_back(std::move(key));
    } else {  // another part is frozen than when the loader asked
      lost.push_back(row);
    }
  }
  if (known.size() == batch.indices.size()) return cache->rows(known_keys);

  const at::NoGradGuard no_grad;
  auto rows = batch.image_rows;
  at::Tensor images = batch.images;
  if (!lost.empty()) {
    rows.insert(rows.end(), lost.begin(), lost.end());
    images = network_.joined(images, loader.load(batch, lost));
  }
  auto features = network_.features(images);
  keep(batch, rows, features);
  if (!known.empty()) {
    features = merged(features, rows, cache->rows(known_keys), known);
  } else if (!lost.empty()) {
    features = features.index_select(0, at::tensor(rows).argsort().to(features.device()));
  }
  return features;
}

/// Of pictures whose content still is what it was before they were decoded.
void Examples::keep(const Batch& batch, const std::vector<std::int64_t>& rows, const at::Tensor& features) {
  if (!may_keep_ || !network_.cache()) return;
  std::vector<std::string> keys;
  std::vector<std::int64_t> chosen;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto at = static_cast<std::size_t>(rows[i]);
    const auto before = seen(batch, rows[i]);
    if (before.empty() || before != key(batch.indices[at], batch.epochs[at])) continue;
    keys.push_back(before);
    chosen.push_back(static_cast<std::int64_t>(i));
  }
  if (keys.empty()) return;
  const bool all = chosen.size() == static_cast<std::size_t>(features.size(0));
  network_.keep(keys, all ? features : features.index_select(0, positions(chosen, features)));
}

}  // namespace graft::train
