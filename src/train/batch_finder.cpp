#include <graft/batch_finder.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include <c10/core/CachingDeviceAllocator.h>

#include <graft/communicator.h>
#include <graft/model.h>

#include "base/check.h"
#include "base/host_memory.h"
#include "base/host_name.h"
#include "base/normal_mode.h"
#include "base/text.h"
#include "base/torch_device.h"
#include "base/translate.h"
#include "train/checkpoint.h"
#include "train/fit.h"
#include "train/kept_model.h"
#include "train/phases.h"

namespace graft {

namespace {

/// On CUDA steps are recorded from the third of a size on, which takes memory of its own. On the CPU the second one
/// has the optimiser's memory beside it.
std::size_t steps_on(Device device) { return device.is_cuda() ? 4 : 2; }

/// Some pictures of a data set again and again, enough for `batch_size` and known to no cache.
class Repeated : public Subset {
 public:
  Repeated(const Dataset& data, std::size_t size) : Subset(data, over_and_over(data.size(), size)) {}
  std::string content_id(std::size_t) const override { return {}; }

 private:
  static std::vector<std::size_t> over_and_over(std::size_t from, std::size_t count) {
    std::vector<std::size_t> places(count);
    for (std::size_t i = 0; i < count; ++i) places[i] = i % from;
    return places;
  }
};

/// What a trial leaves with LibTorch's allocator is the next one's.
void give_back(c10::Device device) {
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
}

/// LibTorch tries one of cuDNN's algorithms after the other, and does not say that there was no memory for any: so it
/// speaks of a network that cuDNN has none for, too, whatever the size.
bool tells_of_no_algorithm(std::string_view message) {
  return message.find("unable to find an engine to execute this computation") != std::string_view::npos;
}

/// `fewer_fit`: some batch does.
bool fits(Model& model, const TrainerOptions& options, const Dataset& train, const std::vector<Phase>& phases,
          const FitOptions& fit_options, bool fewer_fit) {
  const train::KeptModel kept(model);
  const Repeated data(train, steps_on(model.device()) * static_cast<std::size_t>(fit_options.batch_size));
  bool fine = true;
  try {
    base::translated("a step of training", [&] {
      for (const auto& phase : phases) {
        if (!phase.freeze.empty()) model.apply_freeze(phase.freeze);
        train::Fit fit(model, options, fit_options, data);
        fit.begin(phase);
        (void)fit.epoch(0, [] { return true; });
      }
    });
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kOutOfMemory && !(fewer_fit && tells_of_no_algorithm(error.what()))) throw;
    fine = false;
  }
  for (auto [name, tensor] : model.named_parameters()) tensor.mutable_grad().reset();  // what a failure has left
  give_back(base::to_torch(model.device()));
  return fine;
}

/// Processes of `processes` that are on this machine.
std::int64_t processes_here(Communicator* processes) {
  if (!processes) return 1;
  const auto mine = base::host_name();
  return std::ranges::count(processes->all_gather(mine), mine);
}

/// On the CPU: whether a step may take what it is expected to.
class HostBudget {
 public:
  HostBudget(const BatchFinderOptions& o, bool on_cpu) {
    const auto here = processes_here(o.processes);
    if (!on_cpu) return;
    bytes_ = o.max_host_bytes;
    if (const auto free = base::free_host_bytes(); !bytes_ && free) bytes_ = *free / 2 / here;
    if (bytes_) peak_.emplace();
  }
  /// Twice as much as the trial before.
  bool allows_the_next() const { return !bytes_ || 2 * latest_ <= *bytes_; }
  template <class Trial>
  bool watch(Trial&& trial) {
    if (!peak_) return trial();
    peak_->restart();
    const bool fine = trial();
    latest_ = peak_->growth();
    return fine;
  }

 private:
  std::optional<std::int64_t> bytes_;
  std::optional<base::HostMemoryPeak> peak_;
  std::int64_t latest_ = 0;
};

/// 0 for none.
std::int64_t largest_that_fits(Model& model, const TrainerOptions& options, const Dataset& train,
                               const BatchFinderOptions& o) {
  const auto phases = o.phases.empty() ? std::vector<Phase>(1) : o.phases;
  const train::KeptModel kept(model, train::trained_in(model, phases));
  HostBudget budget(o, !model.device().is_cuda());
  std::int64_t best = 0;
  for (auto size = o.first; size <= o.largest; size *= 2) {
    const bool fine = budget.allows_the_next() && budget.watch([&] {
      return fits(model, options, train, phases, {.batch_size = size, .loader_threads = o.loader_threads}, best > 0);
    });
    if (o.on_trial) o.on_trial(size, fine);
    if (!fine) break;
    best = size;
  }
  return best;
}

/// The smallest of all processes' times their number.
std::int64_t of_all(Communicator* processes, std::int64_t mine) {
  if (!processes) return mine;
  std::int64_t smallest = mine;
  for (const auto& text : processes->all_gather(std::to_string(mine)))
    smallest = std::min(smallest, base::parse_integer(text, "batch size of a process"));
  return smallest * processes->size();
}

}  // namespace

std::int64_t find_batch_size(Model& model, const TrainerOptions& trainer, const Dataset& train,
                             const BatchFinderOptions& o) {
  return base::translated("looking for a batch size", [&] {
    const base::NormalMode normal;
    base::require(o.first >= 1, "batch_finder.first", "1 or more", o.first);
    base::require(o.largest >= o.first, "batch_finder.largest", "the first or more", o.largest);
    base::require(o.max_host_bytes.value_or(0) >= 0, "batch_finder.max_host_bytes", "0 or more",
                  o.max_host_bytes.value_or(0));
    if (train.size() == 0) throw Error(ErrorCode::kMismatch, "expected at least one example, found none");
    auto options = trainer;
    options.feature_cache.directory.clear();  // trials have nothing for other runs
    options.on_warning = {};                  // the fit warns of the same
    const auto best = of_all(o.processes, largest_that_fits(model, options, train, o));
    if (best == 0)
      throw Error(ErrorCode::kOutOfMemory, "not even a batch of " + std::to_string(o.first) + " fits into memory");
    return best;
  });
}

std::optional<std::int64_t> batch_size_of_checkpoint(const std::filesystem::path& directory) {
  return base::translated("reading a checkpoint", [&]() -> std::optional<std::int64_t> {
    const auto text = train::CheckpointFiles::setting_of_newest(directory, "batch_size");
    if (!text) return std::nullopt;
    return base::parse_integer(*text, "the checkpoint's batch_size");
  });
}

}  // namespace graft
