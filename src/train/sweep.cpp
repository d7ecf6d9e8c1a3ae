#include <graft/sweep.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <variant>

#include <stdlib.h>

#include <graft/head.h>
#include <graft/trainer.h>

#include "base/check.h"
#include "base/files.h"
#include "base/text.h"
#include "base/translate.h"

namespace graft {

namespace fs = std::filesystem;

namespace {

/// A folder for cached features where none is given; removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "graft-sweep-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) base::raise_errno(pattern, "cannot be made", errno);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::vector<SweepRun> combinations(const SweepOptions& o) {
  if (o.freeze_points.empty() || o.heads.empty()) base::refuse("sweep", "a freeze point and a head at least", "none");
  std::vector<std::optional<double>> rates(o.learning_rates.begin(), o.learning_rates.end());
  if (rates.empty()) rates.emplace_back();
  std::vector<SweepRun> runs;
  for (const auto& freeze : o.freeze_points)
    for (const auto& head : o.heads)
      for (const auto& rate : rates) runs.push_back({freeze, head, rate});
  return runs;
}

/// "stages-3_mlp-256_0-001": a folder's name.
std::string folder_name(const SweepRun& run) {
  std::string name = run.freeze + "_" + run.head + "_" + (run.learning_rate ? base::shortest(*run.learning_rate) : "");
  for (char& c : name)
    if (!base::is_letter_or_digit(c) && c != '_') c = '-';
  return name;
}

}  // namespace

const EpochInfo& SweepRun::best() const {
  if (history.best < history.epochs.size()) return history.epochs[history.best];
  base::refuse("sweep", "a run with an epoch", error.empty() ? "none" : error);
}

std::vector<SweepRun> sweep(const std::function<Model()>& load, const TrainerOptions& trainer, const Dataset& train,
                            const Dataset& val, const FitOptions& fit, const SweepOptions& options) {
  return base::translated("sweep", [&] {
    if (!load) base::refuse("sweep", "a function that loads the model", "none");
    auto runs = combinations(options);
    std::optional<TemporaryFolder> temporary;
    auto features = trainer.feature_cache.directory;
    if (trainer.feature_cache.enabled && features.empty())
      features = options.directory.empty() ? temporary.emplace().path() : options.directory / "features";
    for (std::size_t i = 0; i < runs.size(); ++i) {
      auto& run = runs[i];
      Model model = load();
      model.replace_head(heads::parse(run.head, std::ssize(train.classes()), trainer.seed, options.initializer),
                         options.cut);
      model.apply_freeze(run.freeze);
      model.set_batch_norm(options.batch_norm);
      for (const auto& [name, tensor] : model.trainable_parameters()) run.trainable += tensor.numel();
      if (options.on_run) options.on_run(i, runs.size(), run);
      TrainerOptions with_rate = trainer;
      with_rate.feature_cache.directory = features;
      if (run.learning_rate) std::visit([&](auto& o) { o.learning_rate = *run.learning_rate; }, with_rate.optimizer);
      FitOptions once = fit;
      once.checkpoint.directory = options.directory.empty() ? fs::path() : options.directory / folder_name(run);
      once.checkpoint.resume = true;
      try {
        run.history = Trainer(model, with_rate).fit(train, val, once);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kNumeric) throw;
        run.error = error.what();
      }
      if (run.history.interrupted) {
        runs.resize(i);
        break;
      }
    }
    return runs;
  });
}

}  // namespace graft
