#include "train/fit.h"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <map>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/check.h"
#include "base/printf.h"
#include "base/text.h"
#include "base/torch_device.h"
#include "data/classes.h"
#include "train/clock.h"
#include "train/kept_model.h"
#include "train/mixing.h"
#include "train/together.h"
#include "train/training_mode.h"

namespace graft::train {

namespace {

constexpr std::uint64_t kMixingStream = 2;
constexpr int kAboveStreams = 32;  ///< processes get streams that nothing else has

std::vector<std::int64_t> examples_by_class(const Dataset& data) {
  std::vector<std::int64_t> counts(data.classes().size());
  for (std::size_t i = 0; i < data.size(); ++i) ++counts[static_cast<std::size_t>(data::label_of(data, i))];
  return counts;
}

/// Undefined where all classes weigh the same.
at::Tensor class_weights(const Model& model, const TrainerOptions& options, const Dataset& data) {
  auto weights = options.class_weights;
  if (weights.empty() && options.balance == ClassBalance::kWeights) {
    const auto counts = examples_by_class(data);
    for (const auto count : counts)
      weights.push_back(
          count == 0 ? 0 : static_cast<double>(data.size()) / static_cast<double>(std::ssize(counts) * count));
  }
  if (weights.empty()) return {};
  if (std::ssize(weights) != model.num_classes())
    base::refuse("class_weights", "one for each of " + std::to_string(model.num_classes()) + " classes",
                 std::to_string(weights.size()));
  for (const double weight : weights)
    base::require(weight >= 0 && std::isfinite(weight), "class_weights", "0 or more", weight);
  if (std::ranges::all_of(weights, [](double weight) { return weight == 0; }))
    base::refuse("class_weights", "one above 0 at least", "none");
  return at::tensor(weights, at::kFloat).to(base::to_torch(model.device()));
}

/// Chances of the examples so that each class is drawn as often as the others.
std::vector<double> sampling_weights(const TrainerOptions& options, const Dataset& data) {
  std::vector<double> weights;
  if (options.balance != ClassBalance::kSampling) return weights;
  const auto counts = examples_by_class(data);
  for (std::size_t i = 0; i < data.size(); ++i)
    weights.push_back(1 / static_cast<double>(counts[static_cast<std::size_t>(data.label(i))]));
  return weights;
}

/// Processes draw apart.
std::uint64_t seed_of_dropout(std::uint64_t seed, const Communicator* processes) {
  constexpr std::uint64_t kApart = 0x9e3779b97f4a7c15;
  return seed + kApart * static_cast<std::uint64_t>(processes ? processes->rank() : 0);
}

/// In one of the phases, or as the model is now.
bool batch_norm_trains(Model& model, const std::vector<Phase>& phases) {
  const KeptModel kept(model);
  bool trains = model.uses_batch_statistics();
  for (const auto& phase : phases) {
    if (!phase.freeze.empty()) model.apply_freeze(phase.freeze);
    trains = trains || model.uses_batch_statistics();
  }
  return trains;
}

/// The model, if it can be trained so.
Model& checked(Model& model, const TrainerOptions& options, const FitOptions& fit, const Dataset& train) {
  const auto not_negative = [](double value, const char* name) {
    base::require(value >= 0 && std::isfinite(value), name, "0 or more", value);
  };
  if (options.precision == Precision::kInt8 || options.precision == Precision::kAuto)
    base::refuse("precision", "float32, bfloat16 or float16 for training", std::string(to_string(options.precision)));
  const double smoothing = options.label_smoothing;
  base::require(smoothing >= 0 && smoothing < 1, "label_smoothing", "0 to below 1", smoothing);
  not_negative(options.mixup_alpha, "mixup_alpha");
  not_negative(options.cutmix_alpha, "cutmix_alpha");
  not_negative(options.clip_norm, "clip_norm");
  not_negative(options.clip_value, "clip_value");
  if (takes_text(model.input()) && (options.mixup_alpha > 0 || options.cutmix_alpha > 0))
    base::refuse("mixup_alpha and cutmix_alpha", "0 for a network that takes texts", "another number");
  base::require(options.accumulate >= 1, "accumulate", "1 or more", options.accumulate);
  const bool plain = Objective(model.tasks(), 0).is_plain();
  if (!plain && (options.balance != ClassBalance::kNone || !options.class_weights.empty()))
    base::refuse("balance and class_weights", "a model with one task of single labels", "others");
  if (!batch_norm_trains(model, fit.phases)) return model;
  if (fit.batch_size == 1 || train.size() == 1)
    throw Error(
        ErrorCode::kConfig,
        "batch_size: expected 2 or more where batch norm trains, found 1; or set the batch norm policy to inference");
  if (const auto size = fit.processes ? fit.processes->size() : 1; size > 1)
    base::require(fit.batch_size >= std::int64_t{2} * size, "batch_size of " + std::to_string(size) + " processes",
                  "2 or more for each where batch norm trains, or the batch norm policy inference", fit.batch_size);
  return model;
}

}  // namespace

Fit::Fit(Model& model, const TrainerOptions& options, const FitOptions& fit, const Dataset& train,
         const RunState* begun)
    : model_(checked(model, options, fit, train)),
      options_(options),
      fit_(fit),
      network_(model, options),
      examples_(network_, train, options, /*training=*/true),
      size_(train.size()),
      objective_(model.tasks(), options.label_smoothing, class_weights(model, options, train), options.numerics),
      loader_(train, model.input(), loader_options(train, begun)),
      random_(base::to_torch(model.device()), seed_of_dropout(options.seed, fit.processes)) {
  if (options.precision == Precision::kFloat16) scaler_.emplace(base::to_torch(model.device()));
}

/// What it is decided by is as the first phase has it; a run that is gone on with may stand in another.
bool Fit::shares_by_example(const RunState* begun) {
  if (begun) return begun->integer("fit/by_example") != 0;
  return examples_.may_keep() && network_.has_trunk() && !mixes();
}

LoaderOptions Fit::loader_options(const Dataset& train, const RunState* begun) {
  {  // the loader's threads ask at once what is kept
    const TrainingMode training(model_);
    network_.refresh();
  }
  by_example_ = shares_by_example(begun);
  const LoaderOptions options{
      .batch_size = fit_.batch_size,
      .shuffle = fit_.shuffle,
      .augment = true,
      .augmented_variants = static_cast<std::uint64_t>(options_.feature_cache.augmented_variants),
      .weights = sampling_weights(options_, train),
      .seed = options_.seed,
      .threads = fit_.loader_threads,
      .bytes = model_.device().is_cuda() && !mixes(),
      .share = share_of(fit_.processes, by_example_),
      .device = model_.device()};
  return mixes() ? options : examples_.for_loader(options);  // mixing wants all pictures
}

void Fit::begin(const Phase& phase) {
  pass_.reset();
  groups_ = group_parameters(model_, options_, phase.layer_decay.value_or(options_.layer_decay));
  optimizer_ = Optimizer::create(options_.optimizer, options_.numerics, groups_.parameters);
  batch_norm_trains_ = !network_.changing_buffers().empty();
  foreseen_ = foreseen(phase.epochs);
  begin_schedule(phase);
  updates_ = 0;
  if (options_.ema_decay == 0) return;
  std::vector<std::string> names;
  for (const auto& parameter : groups_.parameters) names.push_back(parameter.name);
  average_.emplace(weights_of(model_, names), options_.ema_decay);
}

void Fit::begin_schedule(const Phase& phase) {
  learning_rate_.emplace(phase.schedule.value_or(options_.schedule), options_.numerics,
                         optimizer_->learning_rate() * phase.rate, foreseen_);
}

double Running::accuracy() const {
  double sum = 0;
  std::int64_t tasks = 0;
  for (const auto& [right, of] : hits) {
    if (of == 0) continue;
    sum += static_cast<double>(right) / static_cast<double>(of);
    ++tasks;
  }
  return tasks == 0 ? 0 : sum / static_cast<double>(tasks);
}

std::int64_t Fit::steps() const {
  return fit_.steps_per_epoch > 0 ? fit_.steps_per_epoch : static_cast<std::int64_t>(loader_.batches_per_epoch());
}

bool Fit::is_too_small(std::int64_t batch) const {
  const auto size = std::min(fit_.batch_size, static_cast<std::int64_t>(size_) - batch * fit_.batch_size);
  return size <= (fit_.processes ? fit_.processes->size() : 1);
}

/// What epoch() will do, in numbers.
EpochSteps Fit::foreseen(std::int64_t epochs) const {
  const auto batches = static_cast<std::int64_t>(loader_.batches_per_epoch());
  const bool once_through = fit_.steps_per_epoch == 0;
  auto next = data_ended_ ? 0 : static_cast<std::int64_t>(loader_.next_batch());
  EpochSteps all{.epochs = epochs};
  std::map<std::int64_t, std::size_t> began;  // which epoch, at which batch
  while (std::ssize(all.steps) < epochs) {
    next = once_through || next == batches ? 0 : next;
    const auto [same, is_new] = began.emplace(next, all.steps.size());
    all.again = same->second;
    if (!is_new) break;
    std::int64_t learned = 0;
    for (bool anew = false; once_through || learned < fit_.steps_per_epoch;) {
      if (next == batches && !once_through && learned == 0 && !std::exchange(anew, true)) next = 0;
      if (next == batches) break;
      if (const auto batch = next++; !batch_norm_trains_ || !is_too_small(batch)) ++learned;
    }
    all.steps.push_back((learned + options_.accumulate - 1) / options_.accumulate);
  }
  return all;
}

std::vector<GroupRate> Fit::learning_rates() const {
  std::vector<GroupRate> rates;
  for (const auto& [name, rate] : groups_.rates) rates.push_back({name, rate * learning_rate()});
  return rates;
}

std::optional<Running> Fit::epoch(std::int64_t number, const AfterStep& after_step) {
  const TrainingMode training(model_);
  auto start = Clock::now();
  if (network_.refresh()) pass_.reset();
  if (!pass_) make_pass();
  if (!in_epoch_) begin_epoch(number);
  const bool once_through = fit_.steps_per_epoch == 0;
  std::int64_t waiting = 0, learned = 0;
  const auto go_on = [&] {
    step_optimizer(std::exchange(waiting, 0));
    trained_ += std::exchange(learned, 0);
    training_seconds_ += seconds_since(std::exchange(start, Clock::now()));
    return after_step();
  };
  const auto began = start;
  while (once_through || step_ < steps()) {
    auto batch = next_batch();
    if (!batch) break;
    if (batch_norm_trains_ &&
        (batch->size() == 1 || is_too_small(static_cast<std::int64_t>(loader_.next_batch()) - 1))) {
      warn_once("a batch of one example was left out: batch norm cannot train on it");
      if (!fit_.processes) continue;
      batch = Batch();
    }
    const auto targets = targets_of(*batch);
    if (!agree_on(*batch, targets)) continue;
    learn_from(*batch, targets, number, waiting);
    ++step_;
    learned += together_.size;
    const bool steps_now = ++waiting == options_.accumulate;
    const bool goes_on = !steps_now || go_on();
    if (fit_.on_step)
      fit_.on_step({number, step_, steps(), running_.loss(), running_.accuracy(),
                    static_cast<double>(running_.seen) / seconds_since(began), false, running_.seen});
    if (!goes_on) return std::nullopt;
  }
  if (waiting > 0 && !go_on()) return std::nullopt;
  collect(/*wait=*/true);
  training_seconds_ += seconds_since(start);
  if (running().seen == 0)
    throw Error(ErrorCode::kMismatch, "nothing was trained in epoch " + std::to_string(number + 1) +
                                          ": none of its pictures can be read, or every batch had one example alone, "
                                          "which batch norm cannot train on");
  return running();
}

void Fit::begin_epoch(std::int64_t number) {
  running_ = {};
  step_ = 0;
  anew_ = false;
  in_epoch_ = true;
  if (number > 0 && (fit_.steps_per_epoch == 0 || data_ended_)) start_over();
}

std::optional<Batch> Fit::next_batch() {
  const bool once_through = fit_.steps_per_epoch == 0;
  auto batch = loader_.next();
  if (!batch && !once_through && step_ == 0 && !std::exchange(anew_, true)) {  // it ended just with the epoch before
    start_over();
    batch = loader_.next();
  }
  if (batch) return batch;
  data_ended_ = true;
  if (!once_through)
    warn_once("ran out of data: an epoch ends before its steps_per_epoch, and the next begins with the data anew");
  return std::nullopt;
}

at::Tensor Fit::targets_of(const Batch& batch) const {
  if (batch.size() == 0) return {};
  return objective_.is_plain() && !mixes() ? objective_.checked(batch.labels) : objective_.dense(batch.targets);
}

bool Fit::agree_on(const Batch& batch, const at::Tensor& targets) {
  if (!fit_.processes) {
    together_.size = batch.size();
    return true;
  }
  const auto tasks = std::ssize(objective_.tasks());
  const auto mine = batch.size() > 0 ? objective_.denominators(targets) : at::zeros({tasks}, at::kDouble);
  const auto all = at::cat(
      {at::tensor(std::vector<double>{static_cast<double>(batch.size()), fit_.stop.stop_requested() ? 1.0 : 0.0},
                  at::kDouble),
       mine});
  fit_.processes->sum({all});
  together_.size = static_cast<std::int64_t>(all[0].item<double>());
  together_.stop = all[1].item<double>() > 0;
  const auto whole = all.narrow(0, 2, tasks);
  together_.shares = at::where(whole > 0, mine / whole, at::zeros_like(whole));
  return together_.size > 0;
}

void Fit::learn_from(const Batch& batch, const at::Tensor& on_cpu, std::int64_t epoch, std::int64_t waiting) {
  const Started started{epoch, step_ + 1, together_.size};
  const bool sums = sum_ && waiting + 1 == options_.accumulate;
  if (batch.size() == 0) {
    started_.push_back(started);
    if (sums) sum_->begin_rest();
    return add(of_all({}));
  }
  const auto device = base::to_torch(model_.device());
  auto images = batch.images;
  auto targets = on_cpu;
  if (mixes()) {
    images = images.to(device, /*non_blocking=*/true);
    targets = targets.to(device, /*non_blocking=*/true);
    const auto rank = static_cast<std::uint64_t>(fit_.processes ? fit_.processes->rank() : 0);
    mix(images, targets, {options_.mixup_alpha, options_.cutmix_alpha},
        {options_.seed, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(step_ + 1),
         kMixingStream + (rank << kAboveStreams)});
  }
  const auto features = mixes() ? network_.features(images) : examples_.features(batch, loader_);
  if (sums) sum_->expect();
  const auto start = [&] { pass_->start(features, targets, waiting == 0, together_.shares); };
  if (device.is_cuda()) {
    random_.draw(start);
  } else {
    start();
  }
  if (sums) sum_->begin_rest();
  started_.push_back(started);
  if (fit_.processes) return add(of_all(pass_->finished(/*wait=*/true).front()));
  collect(/*wait=*/!trains_ahead());
}

GradientPass::Scores Fit::of_all(const GradientPass::Scores& mine) const {
  std::vector<double> numbers{mine.loss};
  for (std::size_t task = 0; task < objective_.tasks().size(); ++task) {
    const auto hits = mine.hits.empty() ? Hits() : mine.hits[task];
    numbers.insert(numbers.end(), {static_cast<double>(hits.right), static_cast<double>(hits.of)});
  }
  const auto all = at::tensor(numbers, at::kDouble);
  fit_.processes->sum({all});
  return {all[0].item<double>(), hits_of(all.narrow(0, 1, all.numel() - 1).to(at::kLong).view({-1, 2}))};
}

/// A batch norm's statistics cannot be put back once the next batch has changed them.
bool Fit::trains_ahead() const {
  return model_.device().is_cuda() && !average_ && !batch_norm_trains_ && !fit_.processes;
}

void Fit::collect(bool wait) {
  if (!pass_) return;
  for (const auto& scores : pass_->finished(wait)) add(scores);
  if (wait && scaler_) scaler_->check();
}

void Fit::add(const GradientPass::Scores& scores) {
  const auto& [loss, hits] = scores;
  const auto [epoch, step, size] = started_.front();
  started_.pop_front();
  if (!std::isfinite(loss))
    throw Error(ErrorCode::kNumeric,
                base::format("the loss is %g", static_cast<double>(loss)) + " in epoch " + std::to_string(epoch + 1) +
                    ", step " + std::to_string(step) +
                    "; the weights are as before this step; try a lower learning rate or check the data");
  running_.loss_sum += loss * static_cast<double>(size);
  running_.hits.resize(hits.size());
  for (std::size_t i = 0; i < hits.size(); ++i) {
    running_.hits[i].right += hits[i].right;
    running_.hits[i].of += hits[i].of;
  }
  running_.seen += size;
}

const Running& Fit::running() {
  collect(/*wait=*/true);
  return running_;
}

void Fit::make_pass() {
  std::vector<at::Tensor> parameters;
  for (const auto& parameter : optimizer_->parameters()) parameters.push_back(parameter.tensor);
  const auto device = base::to_torch(model_.device());
  // A recording can hold no change of the generator: on CUDA learn_from() draws for the whole pass. Elsewhere others
  // need not wait for the gradients.
  const auto forward = [this](const at::Tensor& features) { return network_.forward(features); };
  const auto drawing = [this, forward](const at::Tensor& features) {
    at::Tensor logits;
    random_.draw([&] { logits = forward(features); });
    return logits;
  };
  pass_.emplace(objective_, device.is_cuda() ? GradientPass::Forward(forward) : GradientPass::Forward(drawing),
                std::move(parameters), network_.changing_buffers(), device, scaler_ ? scaler_->scale() : at::Tensor());
  started_.clear();
  sum_.reset();
}

void Fit::step_optimizer(std::int64_t batches) {
  const at::NoGradGuard no_grad;
  has_stepped_ = true;
  if (fit_.processes) average_over_processes();
  if (scaler_) scaler_->unscale(gradients());
  // Ahead, nobody knows yet whether there will be a step.
  const bool steps = !scaler_ || trains_ahead() || !scaler_->overflowed();
  const auto update = updates_++;
  optimizer_->set_learning_rate(rates_ ? rates_(update) : learning_rate_->at(update));
  if (steps) {
    if (batches > 1)
      for (const auto& gradient : gradients()) gradient.div_(static_cast<double>(batches));
    clip_gradients();
    at::Tensor skip;
    if (trains_ahead()) skip = scaler_ ? at::maximum(pass_->failed(), scaler_->overflow()) : pass_->failed();
    optimizer_->step(skip, /*goes_on=*/scaler_.has_value());
  }
  optimizer_->zero_grad();
  if (average_ && steps) average_->update();
  if (!scaler_) return;
  scaler_->update();
  if (!trains_ahead()) scaler_->check();
}

void Fit::average_over_processes() {
  if (!sum_) find_summed();
  sum_->finish();
  std::vector<at::Tensor> statistics;
  for (const auto& buffer : network_.changing_buffers())
    if (buffer.is_floating_point()) statistics.push_back(buffer.div_(fit_.processes->size()));
  if (!statistics.empty()) fit_.processes->sum(statistics);
}

/// A process that had nothing of a batch has no gradients of it, and does not know which parameters get some.
void Fit::find_summed() {
  std::vector<std::int64_t> mine;
  for (const auto& parameter : optimizer_->parameters()) mine.push_back(parameter.tensor.grad().defined() ? 1 : 0);
  const auto some = at::tensor(mine, at::kLong);
  fit_.processes->sum({some});
  std::vector<at::Tensor> summed;
  for (std::size_t i = 0; i < mine.size(); ++i)
    if (some[static_cast<std::int64_t>(i)].item<std::int64_t>() > 0)
      summed.push_back(optimizer_->parameters()[i].tensor);
  sum_.emplace(*fit_.processes, std::move(summed));
  if (sum_->overlaps()) pass_->do_not_record();
}

std::vector<at::Tensor> Fit::gradients() const {
  std::vector<at::Tensor> all;
  for (const auto& parameter : optimizer_->parameters())
    if (parameter.tensor.grad().defined()) all.push_back(parameter.tensor.grad());
  return all;
}

/// torch/nn/utils/clip_grad.py.
void Fit::clip_gradients() const {
  if (options_.clip_norm == 0 && options_.clip_value == 0) return;
  const auto gradients = this->gradients();
  if (options_.clip_norm > 0 && !gradients.empty()) {
    std::vector<at::Tensor> norms;
    for (const auto& gradient : gradients) norms.push_back(at::linalg_vector_norm(gradient));
    constexpr double kEpsilon = 1e-6;
    const double norm = at::linalg_vector_norm(at::stack(norms)).item<double>();
    const double factor = options_.clip_norm / (norm + kEpsilon);
    if (factor < 1)
      for (const auto& gradient : gradients) gradient.mul_(factor);
  }
  if (options_.clip_value > 0)
    for (const auto& gradient : gradients) gradient.clamp_(-options_.clip_value, options_.clip_value);
}

void Fit::start_over() {
  loader_.start_epoch(++data_epoch_);
  data_ended_ = false;
}

void Fit::warn_once(const std::string& text) {
  if (warned_.insert(text).second && options_.on_warning) options_.on_warning(text);
}

void Fit::save(RunState& state) {
  collect(/*wait=*/true);
  const auto set = [&](const char* name, std::integral auto value) {
    state.set(std::string("fit/") + name, static_cast<std::int64_t>(value));
  };
  set("data_epoch", data_epoch_);
  set("next_batch", loader_.next_batch());
  set("data_ended", data_ended_);
  set("in_epoch", in_epoch_);
  set("step", step_);
  set("updates", updates_);
  set("by_example", by_example_);
  set("seen", running_.seen);
  set("trained", trained_);
  state.set("fit/loss_sum", running_.loss_sum);
  state.set("fit/training_seconds", training_seconds_);
  state.set("fit/learning_rate", optimizer_->learning_rate());
  std::vector<std::int64_t> hits;
  for (const auto& [right, of] : running_.hits) hits.insert(hits.end(), {right, of});
  state.tensors["fit/hits"] = at::tensor(hits, at::kLong);
  state.tensors["fit/foreseen"] = at::tensor(foreseen_.steps, at::kLong);
  set("foreseen_again", foreseen_.again);
  const auto& plateau = learning_rate_->plateau();
  state.set("fit/plateau_rate", plateau.rate);
  state.set("fit/plateau_best", plateau.best);
  set("plateau_waited", plateau.waited);
  state.add("optimizer", optimizer_->state());
  if (average_) state.add("average", average_->average());
  if (scaler_) scaler_->save("fit/loss", state);
}

void Fit::load(const RunState& state, const Phase& phase) {
  const auto integer = [&](const char* name) { return state.integer(std::string("fit/") + name); };
  data_epoch_ = static_cast<std::uint64_t>(integer("data_epoch"));
  data_ended_ = integer("data_ended") != 0;
  in_epoch_ = integer("in_epoch") != 0;
  step_ = integer("step");
  updates_ = integer("updates");
  running_ = {};
  running_.seen = integer("seen");
  running_.loss_sum = state.number("fit/loss_sum");
  const auto hits = state.tensor("fit/hits");
  for (std::int64_t i = 0; i + 1 < hits.numel(); i += 2)
    running_.hits.push_back({hits[i].item<std::int64_t>(), hits[i + 1].item<std::int64_t>()});
  trained_ = integer("trained");
  training_seconds_ = state.number("fit/training_seconds");
  const auto steps = state.tensor("fit/foreseen");
  foreseen_.steps.assign(steps.const_data_ptr<std::int64_t>(), steps.const_data_ptr<std::int64_t>() + steps.numel());
  foreseen_.again = static_cast<std::size_t>(integer("foreseen_again"));
  if (foreseen_.again >= foreseen_.steps.size())
    throw Error(ErrorCode::kFormat, "the checkpoint's epochs have no steps");
  begin_schedule(phase);
  learning_rate_->set_plateau(
      {state.number("fit/plateau_rate"), state.number("fit/plateau_best"), integer("plateau_waited")});
  optimizer_->set_state(state.under("optimizer"));
  optimizer_->set_learning_rate(state.number("fit/learning_rate"));
  if (average_) copy_into(state.under("average"), average_->average());
  if (scaler_) scaler_->load("fit/loss", state);
  loader_.start_epoch(data_epoch_, static_cast<std::size_t>(integer("next_batch")));
}

}  // namespace graft::train
