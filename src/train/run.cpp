#include "train/run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <ATen/ATen.h>

#include "base/check.h"
#include "base/torch_version.h"
#include "dist/message.h"
#include "train/clock.h"
#include "train/kept_model.h"
#include "train/phases.h"
#include "train/run_settings.h"
#include "train/together.h"

namespace graft::train {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// What a validation is left with when it is asked to stop.
struct Stopped {};

std::vector<Phase> phases_of(const FitOptions& options) {
  std::vector<Phase> phases = options.phases;
  if (phases.empty()) phases.push_back({.epochs = options.epochs});
  for (const auto& phase : phases) {
    base::require(phase.epochs >= 1, "epochs", "1 or more", phase.epochs);
    base::require(phase.rate > 0 && std::isfinite(phase.rate), "rate of a phase", "above 0", phase.rate);
  }
  return phases;
}

/// Lower is better.
double monitored(const EpochInfo& epoch, const EarlyStopping& stopping) {
  if (stopping.by_accuracy) return -epoch.val_accuracy.value_or(epoch.accuracy);
  return epoch.val_loss.value_or(epoch.loss);
}

/// The average in the model for a scope.
class Averaged {
 public:
  explicit Averaged(MovingAverage* average) : average_(average) {
    if (average_) average_->exchange();
  }
  ~Averaged() {
    if (average_) average_->exchange();
  }
  Averaged(const Averaged&) = delete;
  Averaged& operator=(const Averaged&) = delete;

 private:
  MovingAverage* average_;
};

void save_history(const History& history, RunState& state) {
  std::vector<double> rows;
  const auto or_none = [](std::optional<double> value) { return value.value_or(kNone); };
  for (std::size_t i = 0; i < history.epochs.size(); ++i) {
    const auto& e = history.epochs[i];
    rows.insert(rows.end(), {e.loss, e.accuracy, or_none(e.val_loss), or_none(e.val_accuracy),
                             or_none(e.val_top5_accuracy), e.learning_rate, e.seconds, static_cast<double>(e.phase)});
    const std::string prefix = "history/" + std::to_string(i) + "/";
    state.set(prefix + "groups", std::ssize(e.learning_rates));
    for (std::size_t k = 0; k < e.learning_rates.size(); ++k) {
      state.values[prefix + "group/" + std::to_string(k)] = e.learning_rates[k].group;
      state.set(prefix + "rate/" + std::to_string(k), e.learning_rates[k].rate);
    }
  }
  const auto epochs = std::ssize(history.epochs);
  state.tensors["history"] = at::tensor(rows, at::kDouble).view({epochs, epochs == 0 ? 0 : std::ssize(rows) / epochs});
  state.set("history/best", static_cast<std::int64_t>(history.best));
  state.set("history/frozen_unchanged", std::int64_t{history.frozen_unchanged});
  state.set("history/stopped_early", std::int64_t{history.stopped_early});
}

History load_history(const RunState& state) {
  History history;
  const auto rows = state.tensors.at("history");
  const auto maybe = [](double value) { return std::isnan(value) ? std::nullopt : std::optional(value); };
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const auto column = [&](std::int64_t k) { return rows[i][k].item<double>(); };
    EpochInfo epoch{column(0),
                    column(1),
                    maybe(column(2)),
                    maybe(column(3)),
                    maybe(column(4)),
                    column(5),
                    {},
                    static_cast<std::size_t>(column(7)),
                    column(6)};
    const std::string prefix = "history/" + std::to_string(i) + "/";
    for (std::int64_t k = 0; k < state.integer(prefix + "groups"); ++k)
      epoch.learning_rates.push_back(
          {state.text(prefix + "group/" + std::to_string(k)), state.number(prefix + "rate/" + std::to_string(k))});
    history.epochs.push_back(std::move(epoch));
  }
  history.best = static_cast<std::size_t>(state.integer("history/best"));
  history.frozen_unchanged = state.integer("history/frozen_unchanged") != 0;
  history.stopped_early = state.integer("history/stopped_early") != 0;
  history.resumed_at = history.epochs.size();
  return history;
}

void save_bad_images(const std::vector<BadImage>& list, const std::string& prefix, RunState& state) {
  state.set(prefix, std::ssize(list));
  for (std::size_t i = 0; i < list.size(); ++i) {
    state.values[prefix + "/name/" + std::to_string(i)] = list[i].name;
    state.values[prefix + "/message/" + std::to_string(i)] = list[i].message;
  }
}

std::vector<BadImage> load_bad_images(const std::string& prefix, const RunState& state) {
  std::vector<BadImage> list;
  for (std::int64_t i = 0; i < state.integer(prefix); ++i)
    list.push_back(
        {state.text(prefix + "/name/" + std::to_string(i)), state.text(prefix + "/message/" + std::to_string(i))});
  return list;
}

/// Each once, by name.
void add(std::vector<BadImage>& list, const std::vector<BadImage>& more) {
  for (const auto& bad : more)
    if (std::none_of(list.begin(), list.end(), [&](const BadImage& known) { return known.name == bad.name; }))
      list.push_back(bad);
}

}  // namespace

Run::Run(Model& model, const TrainerOptions& options, const FitOptions& fit, const Dataset& train, const Dataset* val)
    : model_(model),
      options_(options),
      fit_options_(fit),
      val_(val),
      phases_(phases_of(fit)),
      trained_names_(trained_in(model, phases_)) {
  base::require(fit.steps_per_epoch >= 0, "steps_per_epoch", "0 or more", fit.steps_per_epoch);
  base::require(fit.early_stopping.patience >= 0, "early_stopping.patience", "0 or more", fit.early_stopping.patience);
  base::require(fit.early_stopping.min_delta >= 0 && std::isfinite(fit.early_stopping.min_delta),
                "early_stopping.min_delta", "0 or more", fit.early_stopping.min_delta);
  base::require(fit.checkpoint.every_steps >= 0, "checkpoint.every_steps", "0 or more", fit.checkpoint.every_steps);
  if (!phase().freeze.empty()) model.apply_freeze(phase().freeze);
  history_.frozen_unchanged = true;
  frozen_ = model.frozen_hash();
  if (writes() || fit.processes) settings_ = settings_of(model, options, fit, phases_, train, val);
  if (fit.processes) check_processes();
  auto state = open_checkpoints();
  std::optional<KeptModel> before;
  if (state) before.emplace(model, trained_names_);
  if (state) load(*state);
  fit_.emplace(model, options_, fit, train, state ? &*state : nullptr);
  fit_->begin(phase());
  if (state) fit_->load(*state, phase());
  if (state) fit_->random().set_state(state->tensor(own("generator")));
  if (val) val_examples_.emplace(fit_->network(), *val, options_, /*training=*/false);
  if (before) before->release();
  resumed_ = state.has_value();
}

void Run::check_processes() const {
  auto all = settings_;
  all["device"] = model_.device().is_cuda() ? "cuda" : "cpu";
  all["Graft"] = GRAFT_VERSION_TEXT;
  all["LibTorch"] = base::running_torch_version();
  all["checkpoints"] = std::to_string(fit_options_.checkpoint.every_steps) + (writes() ? " steps" : " none");
  fit_options_.processes->require_same(all);
}

std::optional<RunState> Run::open_checkpoints() {
  auto* processes = fit_options_.processes;
  const auto apart = [&](const std::filesystem::path& folder) {
    return processes ? folder / ("process " + std::to_string(processes->rank())) : folder;
  };
  auto& features = options_.feature_cache.directory;
  if (!features.empty()) features = apart(features);
  std::optional<RunState> state;
  if (!writes()) return state;
  if (!processes || processes->rank() == 0) {
    files_.emplace(fit_options_.checkpoint, options_.on_warning);
    state = files_->newest(settings_);
  }
  if (processes) state = of_first(*processes, std::move(state));
  if (options_.feature_cache.enabled && features.empty()) {
    features = apart(CheckpointFiles::features_directory(fit_options_.checkpoint.directory));
    FeatureFile::restore(features, state ? std::pair(state->text(own("features")),
                                                     static_cast<std::size_t>(state->integer(own("features/bytes"))))
                                         : std::pair<std::string, std::size_t>());
  }
  return state;
}

std::string Run::own(const std::string& name) const {
  const auto* processes = fit_options_.processes;
  return processes && processes->rank() > 0 ? "process " + std::to_string(processes->rank()) + "/" + name : name;
}

bool Run::stop_requested() const {
  const bool here = fit_options_.stop.stop_requested();
  return fit_options_.processes ? fit_options_.processes->any(here) : here;
}

History Run::go() {
  while (phase_ < phases_.size()) {
    if (epoch_in_phase_ < phase().epochs && !is_time_to_stop()) {
      if (epoch()) continue;
      history_.interrupted = true;
      break;
    }
    history_.stopped_early = history_.stopped_early || epoch_in_phase_ < phase().epochs;
    history_.frozen_unchanged = history_.frozen_unchanged && model_.frozen_hash() == frozen_;
    if (phase_ + 1 == phases_.size()) break;
    begin_phase(phase_ + 1);
  }
  finish();
  return std::move(history_);
}

void Run::begin_phase(std::size_t index) {
  phase_ = index;
  epoch_in_phase_ = 0;
  if (!phase().freeze.empty()) model_.apply_freeze(phase().freeze);
  frozen_ = model_.frozen_hash();
  fit_->begin(phase());
}

bool Run::epoch() {
  const auto start = Clock::now();
  const auto number = std::ssize(history_.epochs);
  const auto running = fit_->epoch(number, [this] { return after_step(); });
  if (!running) {
    if (writes()) save();
    return false;
  }
  EpochInfo epoch{.loss = running->loss(),
                  .accuracy = running->accuracy(),
                  .learning_rate = fit_->learning_rate(),
                  .learning_rates = fit_->learning_rates(),
                  .phase = phase_};
  bool validated = true;
  {
    const Averaged averaged(fit_->average());
    if (val_) validated = validate(epoch);
    if (validated) {
      add_epoch(std::move(epoch), seconds_since(start));
      ++epoch_in_phase_;
      add(bad_in_training_, of_all(fit_options_.processes, fit_->bad_images()));
      if (fit_options_.on_epoch) fit_options_.on_epoch(history_.epochs.back());
    }
  }
  if (!validated) {
    if (writes()) save();
    return false;
  }
  if (writes()) save();
  return !stop_requested();
}

void Run::add_epoch(EpochInfo epoch, double seconds) {
  fit_->epoch_ended(epoch.val_loss.value_or(epoch.loss));
  epoch.seconds = seconds;
  history_.epochs.push_back(std::move(epoch));
  if (!is_best()) return;
  history_.best = history_.epochs.size() - 1;
  best_ = copy_of(weights_of(model_, trained_names_));
}

bool Run::after_step() {
  if (fit_options_.processes ? fit_->all_stop() : fit_options_.stop.stop_requested()) return false;
  const auto every = fit_options_.checkpoint.every_steps;
  if (writes() && every > 0 && ++steps_since_checkpoint_ >= every) save();
  return true;
}

bool Run::validate(EpochInfo& epoch) {
  const auto number = std::ssize(history_.epochs);
  const auto report = [&](std::int64_t step, std::int64_t steps) {
    if (fit_options_.on_step) fit_options_.on_step({number, step, steps, epoch.loss, epoch.accuracy, 0, true});
    if (!fit_options_.processes && fit_options_.stop.stop_requested()) throw Stopped();
  };
  Evaluation scores;
  try {
    scores = Evaluator(model_, options_)
                 .evaluate(*val_, {fit_options_.batch_size, fit_options_.loader_threads, &*val_examples_, report,
                                   fit_options_.processes});
  } catch (const Stopped&) {
    return false;
  }
  epoch.val_loss = scores.loss;
  double sum = 0;
  std::int64_t classifying = 0;
  for (const auto& task : scores.tasks) {
    if (task.kind == TaskKind::kSingleLabel) epoch.val_top5_accuracy = scores.top5_accuracy;
    if (!task.accuracy) continue;
    sum += *task.accuracy;
    ++classifying;
  }
  if (classifying > 0) epoch.val_accuracy = sum / static_cast<double>(classifying);
  add(bad_in_validation_, scores.bad_images);
  return true;
}

/// Whether the newest epoch is. Without validation the last one always is.
bool Run::is_best() const {
  const auto& now = history_.epochs.back();
  const auto& before = history_.epochs[history_.best];
  if (history_.epochs.size() == 1 || !now.val_loss) return true;
  // Accuracies of several tasks, or none, do not say enough.
  if (model_.tasks().size() > 1 || !now.val_accuracy) return *now.val_loss < *before.val_loss;
  return std::pair(*now.val_accuracy, -*now.val_loss) > std::pair(*before.val_accuracy, -*before.val_loss);
}

bool Run::is_time_to_stop() const {
  const auto& stopping = fit_options_.early_stopping;
  if (stopping.patience == 0) return false;
  double best = std::numeric_limits<double>::infinity();
  std::int64_t waited = 0;
  for (const auto& epoch : history_.epochs) {
    if (epoch.phase != phase_) continue;
    const double value = monitored(epoch, stopping);
    ++waited;
    if (value < best - stopping.min_delta) {
      best = value;
      waited = 0;
    }
  }
  return waited >= stopping.patience;
}

void Run::finish() {
  if (fit_->average()) fit_->average()->exchange();
  if (!history_.epochs.empty()) last_ = copy_of(weights_of(model_, trained_names_));
  history_.batch_size = fit_options_.batch_size;
  history_.images_per_second = fit_->images_per_second();
  history_.bad_images = bad_in_training_;
  history_.bad_images.insert(history_.bad_images.end(), bad_in_validation_.begin(), bad_in_validation_.end());
}

void Run::save() {
  RunState state;
  state.set("phase", static_cast<std::int64_t>(phase_));
  state.set("epoch_in_phase", epoch_in_phase_);
  state.values["frozen"] = frozen_;
  const auto [features, bytes] = fit_->network().kept_extent();
  state.values["features"] = features;
  state.set("features/bytes", static_cast<std::int64_t>(bytes));
  state.add("weights", weights_of(model_, trained_names_));
  state.add("best", best_);
  state.tensors["generator"] = fit_->random().state();
  save_history(history_, state);
  save_bad_images(bad_in_training_, "bad in training", state);
  save_bad_images(bad_in_validation_, "bad in validation", state);
  fit_->save(state);
  if (fit_options_.processes) save_others(state);
  if (files_) files_->write(state, settings_);
  steps_since_checkpoint_ = 0;
}

void Run::save_others(RunState& state) {
  const auto generator = fit_->random().state().contiguous();
  const std::string drawn(static_cast<const char*>(generator.const_data_ptr()), generator.nbytes());
  const auto [features, bytes] = fit_->network().kept_extent();
  dist::MessageWriter mine;
  mine.add(features);
  mine.add(static_cast<std::int64_t>(bytes));
  mine.add(drawn);
  const auto all = fit_options_.processes->all_gather(mine.text());
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    dist::MessageReader reader(all[rank]);
    const auto prefix = "process " + std::to_string(rank) + "/";
    state.values[prefix + "features"] = reader.next();
    state.values[prefix + "features/bytes"] = reader.next();
    const auto its = reader.next();
    const auto bits = at::empty({std::ssize(its)}, at::kByte);
    std::ranges::copy(its, static_cast<char*>(bits.mutable_data_ptr()));
    state.tensors[prefix + "generator"] = bits;
  }
}

void Run::load(const RunState& state) {
  phase_ = static_cast<std::size_t>(state.integer("phase"));
  if (phase_ >= phases_.size()) throw Error(ErrorCode::kFormat, "the checkpoint's phase is none of this run's");
  epoch_in_phase_ = state.integer("epoch_in_phase");
  for (std::size_t i = 1; i <= phase_; ++i)
    if (!phases_[i].freeze.empty()) model_.apply_freeze(phases_[i].freeze);
  copy_into(state.under("weights"), weights_of(model_, trained_names_));
  best_ = state.under("best");
  frozen_ = state.text("frozen");
  history_ = load_history(state);
  bad_in_training_ = load_bad_images("bad in training", state);
  bad_in_validation_ = load_bad_images("bad in validation", state);
}

}  // namespace graft::train
