#include <graft/batch_finder.h>

#include <algorithm>
#include <optional>

#include <c10/core/CachingDeviceAllocator.h>

#include <graft/model.h>

#include "base/check.h"
#include "base/seeded_generator.h"
#include "base/torch_device.h"
#include "base/translate.h"
#include "train/fit.h"
#include "train/restored.h"

namespace graft {

namespace {

/// On CUDA steps are recorded from the third of a size on, which takes memory of its own.
constexpr std::size_t kSteps = 4;

/// Some pictures of a data set again and again, enough for `batch_size` and known to no cache.
class Repeated : public Dataset {
 public:
  Repeated(const Dataset& data, std::int64_t batch_size)
      : data_(data), size_(kSteps * static_cast<std::size_t>(batch_size)) {}
  std::size_t size() const override { return size_; }
  const std::vector<std::string>& classes() const override { return data_.classes(); }
  std::int64_t label(std::size_t i) const override { return data_.label(original(i)); }
  std::vector<float> targets(std::size_t i) const override { return data_.targets(original(i)); }
  Image image(std::size_t i) const override { return data_.image(original(i)); }
  std::string text(std::size_t i) const override { return data_.text(original(i)); }
  std::string name(std::size_t i) const override { return data_.name(original(i)); }
  OnBadImage on_bad_image() const override { return data_.on_bad_image(); }
  const Augment& augment() const override { return data_.augment(); }

 private:
  std::size_t original(std::size_t i) const { return i % data_.size(); }

  const Dataset& data_;
  std::size_t size_;
};

/// What a trial leaves with LibTorch's allocator is the next one's.
void give_back(c10::Device device) {
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
}

bool fits(Model& model, const TrainerOptions& options, const Dataset& train, const FitOptions& fit_options) {
  bool fine = true;
  try {
    const Repeated data(train, fit_options.batch_size);
    train::Fit fit(model, options, fit_options, data);
    fit.begin({});
    (void)fit.epoch(0, [] { return true; });
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kOutOfMemory) throw;
    fine = false;
  }
  give_back(base::to_torch(model.device()));
  return fine;
}

}  // namespace

std::int64_t find_batch_size(Model& model, const TrainerOptions& trainer, const Dataset& train,
                             const BatchFinderOptions& o) {
  return base::translated("looking for a batch size", [&] {
    base::require(o.first >= 1, "batch_finder.first", "1 or more", o.first);
    base::require(o.largest >= o.first, "batch_finder.largest", "the first or more", o.largest);
    if (train.size() == 0) throw Error(ErrorCode::kMismatch, "expected at least one example, found none");
    const base::SeededGenerator generator(base::to_torch(model.device()), trainer.seed);
    const train::Restored restored(model);
    std::optional<std::int64_t> best;
    for (auto size = o.first; size <= o.largest; size *= 2) {
      const bool fine = fits(model, trainer, train, {.batch_size = size, .loader_threads = o.loader_threads});
      if (o.on_trial) o.on_trial(size, fine);
      if (!fine) break;
      best = size;
    }
    if (!best)
      throw Error(ErrorCode::kOutOfMemory, "not even a batch of " + std::to_string(o.first) + " fits into memory");
    return *best;
  });
}

}  // namespace graft
