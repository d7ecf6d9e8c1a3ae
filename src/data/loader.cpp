#include <graft/loader.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <numeric>

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "base/alive.h"
#include "base/check.h"
#include "base/side_stream.h"
#include "base/torch_device.h"
#include "base/translate.h"
#include "data/one_ahead.h"
#include "data/prefetcher.h"
#include "data/rows.h"
#include "data/shuffle.h"

namespace graft {

at::Tensor Batch::one_hot(std::int64_t classes) const {
  return base::translated("one-hot labels", [&] {
    const auto result = at::zeros({labels.size(0), classes}, at::kFloat);
    auto rows = result.accessor<float, 2>();
    const auto label = labels.accessor<std::int64_t, 1>();
    for (std::int64_t i = 0; i < labels.size(0); ++i) {
      if (label[i] < 0 || label[i] >= classes)
        throw Error(ErrorCode::kMismatch, "one-hot labels: expected 0 to " + std::to_string(classes - 1) + ", found " +
                                              std::to_string(label[i]));
      rows[i][label[i]] = 1;
    }
    return result;
  });
}

namespace {

/// What became of an example's picture. A byte each, since threads write neighbouring ones.
enum class Slot : char { kUnreadable, kRead, kSkipped };

/// A batch under construction: its slots are filled by several threads.
struct Filling {
  std::vector<std::size_t> indices;
  std::vector<std::uint64_t> epochs;
  std::unique_ptr<data::Rows> rows;  ///< of the slots
  std::vector<Slot> slots;
};

/// A batch whose pictures may still be on their way to the device.
struct Ready {
  Batch batch;
  std::optional<base::SideStream::Result> on_device;
};

/// What is left when the unreadable slots are taken out.
Batch finished(const Filling& filling, const Dataset& dataset) {
  Batch batch;
  std::vector<std::int64_t> labels;
  std::vector<float> targets;
  std::vector<std::size_t> read;
  for (std::size_t slot = 0; slot < filling.indices.size(); ++slot) {
    if (filling.slots[slot] == Slot::kUnreadable) continue;
    if (filling.slots[slot] == Slot::kRead) {
      read.push_back(slot);
      batch.image_rows.push_back(std::ssize(batch.indices));
    }
    batch.indices.push_back(filling.indices[slot]);
    batch.epochs.push_back(filling.epochs[slot]);
    labels.push_back(dataset.label(filling.indices[slot]));
    const auto row = dataset.targets(filling.indices[slot]);
    targets.insert(targets.end(), row.begin(), row.end());
    if (targets.size() != row.size() * batch.indices.size())
      throw Error(ErrorCode::kMismatch, dataset.name(filling.indices[slot]) + ": has " + std::to_string(row.size()) +
                                            " targets, examples before it have another number of them");
  }
  batch.images = filling.rows->finish(read);
  batch.labels = at::tensor(labels, at::kLong);
  const auto width = batch.indices.empty() ? 0 : targets.size() / batch.indices.size();
  batch.targets = at::tensor(targets, at::kFloat).view({batch.size(), static_cast<std::int64_t>(width)});
  return batch;
}

void check(bool fine, const char* option, std::int64_t found) {
  base::require(fine, std::string("loader: ") + option, "1 or more", found);
}

}  // namespace

struct [[gnu::visibility("hidden")]] DataLoader::Impl {
  const Dataset& dataset;
  Input input;
  LoaderOptions options;

  std::uint64_t epoch = 0;
  std::size_t first_batch = 0;  ///< that this epoch began with
  std::vector<std::size_t> order;
  std::vector<std::uint64_t> repetitions;  ///< how often an index of `order` came before; empty if all are different
  std::vector<std::size_t> owners;         ///< which part has an example; empty where that changes
  bool any_readable = false;               ///< in this epoch

  mutable std::mutex bad_mutex;
  std::map<std::size_t, std::string> bad;  ///< message by index

  std::mutex filling_mutex;
  std::map<std::size_t, Filling> filling;  ///< by batch number; elements do not move

  std::optional<base::SideStream> ahead;  ///< where batches go to a CUDA device
  data::OneAhead<Ready> one_ahead{[this] { return produce(); }};

  std::unique_ptr<data::Prefetcher> prefetcher;  ///< last: its threads end before what they use

  Impl(const Dataset& examples, const Input& i, const LoaderOptions& o) : dataset(examples), input(i), options(o) {
    if (const auto* preprocessing = std::get_if<Preprocessing>(&input)) preprocessing->validate();
    check(options.batch_size >= 1, "batch_size", options.batch_size);
    check(options.threads >= 1, "threads", options.threads);
    check(options.prefetch_batches >= 1, "prefetch_batches", options.prefetch_batches);
    const auto& share = options.share;
    check(share.parts >= 1, "share.parts", share.parts);
    base::require(share.part >= 0 && share.part < share.parts, "loader: share.part", "0 to below share.parts",
                  share.part);
    if (dataset.size() == 0) throw Error(ErrorCode::kMismatch, "loader: expected at least one example, found none");
    if (batches() == 0)
      throw Error(ErrorCode::kMismatch, "loader: expected at least one whole batch of " +
                                            std::to_string(options.batch_size) + ", found " +
                                            std::to_string(dataset.size()) + " examples");
    if (options.augment) dataset.augment().validate();
    if (options.device.is_cuda()) ahead.emplace(base::to_torch(Device::parse(options.device.str())));
    check_weights();
    start(0, 0);
  }

  std::size_t batches() const {
    const auto size = static_cast<std::size_t>(options.batch_size);
    return options.drop_last ? dataset.size() / size : (dataset.size() + size - 1) / size;
  }

  void check_weights() const {
    const auto& weights = options.weights;
    if (weights.empty()) return;
    if (weights.size() != dataset.size())
      base::refuse("loader: weights", "one for each of " + std::to_string(dataset.size()) + " examples",
                   std::to_string(weights.size()));
    double sum = 0;
    for (const double weight : weights) {
      base::require(weight >= 0 && std::isfinite(weight), "loader: weights", "0 or more", weight);
      sum += weight;
    }
    base::require(sum > 0 && std::isfinite(sum), "loader: sum of the weights", "above 0", sum);
  }

  void start(std::uint64_t next_epoch, std::size_t first) {
    prefetcher.reset();
    one_ahead.clear();
    filling.clear();
    epoch = next_epoch;
    first_batch = std::min(first, batches());
    any_readable = first_batch > 0;
    set_order();
    if (options.share.by_example && owners.empty()) set_owners();  // the constructor begins with epoch 0
    prefetcher = std::make_unique<data::Prefetcher>(
        batches() - first_batch, [this](std::size_t n) { return job(first_batch + n); }, options.threads,
        static_cast<std::size_t>(options.prefetch_batches));
  }

  void set_order() {
    repetitions.clear();
    if (!options.weights.empty()) {
      order = data::drawn(options.weights, options.seed, epoch);
      std::vector<std::uint64_t> seen(dataset.size());
      for (const auto index : order) repetitions.push_back(seen[index]++);
    } else if (options.shuffle) {
      order = data::shuffled(dataset.size(), options.seed, epoch);
    } else {
      order.resize(dataset.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
    }
  }

  /// Those that failed have had their turn, too.
  std::size_t next_batch() const { return first_batch + (prefetcher ? prefetcher->handed_out() : 0); }

  data::Prefetcher::Job job(std::size_t number) {
    std::unique_lock lock(filling_mutex);
    Filling& mine = filling[number];
    lock.unlock();
    const auto size = static_cast<std::size_t>(options.batch_size), first = number * size;
    const auto count = std::min(size, order.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      if (!is_mine(i, count, order[first + i])) continue;
      mine.indices.push_back(order[first + i]);
      mine.epochs.push_back(drawn_epoch(repetitions.empty() ? 0 : repetitions[first + i]));
    }
    mine.rows = data::make_rows(dataset, input, options, mine.indices.size(), ahead.has_value());
    mine.slots.assign(mine.indices.size(), Slot::kUnreadable);
    return {mine.indices.size(), [this, &mine](std::size_t slot) { fill(mine, slot); }};
  }

  /// Whether place `i` of a batch of `count`, where example `index` is, belongs to this process.
  bool is_mine(std::size_t i, std::size_t count, std::size_t index) const {
    const auto owner = options.share.by_example ? owners[index] : part_of(i, count);
    return owner == static_cast<std::size_t>(options.share.part);
  }

  /// Whose piece has place `i` of a batch of `count`: part p has those from count * p / parts on.
  std::size_t part_of(std::size_t i, std::size_t count) const {
    const auto parts = static_cast<std::size_t>(options.share.parts);
    return ((i + 1) * parts + count - 1) / count - 1;
  }

  /// By the order of epoch 0.
  void set_owners() {
    owners.resize(dataset.size());
    for (std::size_t i = 0; i < owners.size(); ++i) owners[i] = i % static_cast<std::size_t>(options.share.parts);
    const auto size = static_cast<std::size_t>(options.batch_size);
    for (std::size_t i = 0; i < order.size(); ++i) {
      const auto first = i / size * size;
      owners[order[i]] = part_of(i - first, std::min(size, order.size() - first));
    }
  }

  /// The epoch that the random changes are drawn for.
  std::uint64_t drawn_epoch(std::uint64_t repetition) const {
    constexpr int kAboveEpochs = 32;  // repetitions get changes that no epoch has
    if (options.augmented_variants > 0) return (epoch + repetition) % options.augmented_variants;
    return epoch + (repetition << kAboveEpochs);
  }

  at::Tensor load(const Batch& batch, const std::vector<std::int64_t>& rows) const {
    const auto loaded = data::make_rows(dataset, input, options, rows.size(), ahead.has_value());
    std::vector<std::size_t> all(rows.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    for (const auto i : all) {
      base::require(rows[i] >= 0 && rows[i] < batch.size(), "loader: row", "one of the batch", rows[i]);
      const auto at = static_cast<std::size_t>(rows[i]);
      loaded->read(i, batch.indices[at], batch.epochs[at]);
    }
    const auto images = loaded->finish(all);
    return ahead ? ahead->hand_over(moved(*loaded, images)) : images;
  }

  void fill(Filling& mine, std::size_t slot) {
    const std::size_t index = mine.indices[slot];
    if (options.skip_image && options.skip_image(index, mine.epochs[slot])) {
      mine.slots[slot] = Slot::kSkipped;
      return;
    }
    try {
      mine.rows->read(slot, index, mine.epochs[slot]);
      mine.slots[slot] = Slot::kRead;
    } catch (const Error& error) {
      if (dataset.on_bad_image() == OnBadImage::kFail || !base::is_about_input(error.code())) throw;
      const std::lock_guard lock(bad_mutex);
      bad.emplace(index, error.what());
    }
  }

  base::SideStream::Result moved(const data::Rows& rows, const at::Tensor& images) const {
    return ahead->run([&] { return rows.to(base::to_torch(options.device), images); });
  }

  std::optional<Batch> next() {
    auto ready = one_ahead.next();
    if (!ready) return std::nullopt;
    if (!ready->on_device) return std::move(ready->batch);
    ready->batch.images = ahead->hand_over(*ready->on_device);
    if (prefetcher->is_ready()) one_ahead.prepare();
    return std::move(ready->batch);
  }

  std::optional<Ready> produce() {
    if (!prefetcher) throw Error(ErrorCode::kConfig, "loader: its epoch could not be started; start it again");
    for (;;) {
      const auto number = prefetcher->next();
      if (!number) {
        if (!any_readable && options.share.parts == 1)
          throw Error(ErrorCode::kMismatch, "none of " + std::to_string(dataset.size()) +
                                                " pictures can be read; the first: " + first_failure());
        return std::nullopt;
      }
      std::unique_lock lock(filling_mutex);
      auto node = filling.extract(first_batch + *number);
      filling.erase(filling.begin(), filling.lower_bound(first_batch + *number));  // those that failed
      lock.unlock();
      auto batch = finished(node.mapped(), dataset);
      if (batch.indices.empty() && options.share.parts == 1) continue;
      any_readable = true;
      Ready ready{std::move(batch), std::nullopt};
      auto& images = ready.batch.images;
      if (ahead && images.numel() > 0) ready.on_device = moved(*node.mapped().rows, images);
      if (ahead && images.numel() == 0) images = images.to(base::to_torch(options.device));  // all of them were skipped
      return ready;
    }
  }

  std::string first_failure() const {
    const std::lock_guard lock(bad_mutex);
    return bad.empty() ? std::string("none was asked for") : bad.begin()->second;
  }
};

DataLoader::DataLoader(const Dataset& dataset, const Input& input, const LoaderOptions& options)
    : impl_(base::translated("loader", [&] { return std::make_unique<Impl>(dataset, input, options); })) {}

DataLoader::Impl& DataLoader::impl() const { return base::alive(impl_, "DataLoader"); }
DataLoader::~DataLoader() = default;
DataLoader::DataLoader(DataLoader&&) noexcept = default;
DataLoader& DataLoader::operator=(DataLoader&&) noexcept = default;

std::optional<Batch> DataLoader::next() {
  return base::translated("loading a batch", [&] { return impl().next(); });
}

at::Tensor DataLoader::load(const Batch& batch, const std::vector<std::int64_t>& rows) const {
  return base::translated("loading examples", [&] { return impl().load(batch, rows); });
}

void DataLoader::start_epoch(std::uint64_t epoch, std::size_t first_batch) {
  base::translated("loader", [&] { impl().start(epoch, first_batch); });
}

std::size_t DataLoader::next_batch() const { return impl().next_batch() - (impl().one_ahead.is_ahead() ? 1 : 0); }

std::size_t DataLoader::batches_per_epoch() const { return impl().batches(); }

std::vector<BadImage> DataLoader::bad_images() const {
  const std::lock_guard lock(impl().bad_mutex);
  std::vector<BadImage> list;
  for (const auto& [index, message] : impl().bad) list.push_back({impl().dataset.name(index), message});
  return list;
}

}  // namespace graft
