#include "train/run_settings.h"

#include <algorithm>
#include <variant>

#include <ATen/core/Formatting.h>

#include <graft/communicator.h>

#include "base/overloaded.h"
#include "base/sha256.h"
#include "base/text.h"
#include "data/identity.h"
#include "model/input.h"

namespace graft::train {

namespace {

std::string text(double value) { return base::shortest(value); }
std::string text(std::optional<double> value) { return value ? text(*value) : "default"; }

/// "NAME(a, b, ...)".
template <class... Values>
std::string call(const char* name, const Values&... values) {
  std::string all;
  ((all += (all.empty() ? "" : ", ") + text(values)), ...);
  return std::string(name) + "(" + all + ")";
}

std::string text(const OptimizerSpec& spec) {
  return std::visit(
      base::Overloaded{
          [](const Sgd& o) { return call("sgd", o.learning_rate, o.momentum, double(o.nesterov), o.weight_decay); },
          [](const Adam& o) { return call("adam", o.learning_rate, o.beta1, o.beta2, o.epsilon, o.weight_decay); },
          [](const AdamW& o) { return call("adamw", o.learning_rate, o.beta1, o.beta2, o.epsilon, o.weight_decay); },
          [](const RmsProp& o) {
            return call("rmsprop", o.learning_rate, o.rho, o.epsilon, o.momentum, o.weight_decay);
          }},
      spec);
}

std::string text(const Schedule& schedule) {
  const auto decay = std::visit(
      base::Overloaded{[](const ConstantRate&) { return std::string("constant"); },
                       [](const StepDecay& o) { return call("step", static_cast<double>(o.epochs), o.factor); },
                       [](const CosineDecay& o) { return call("cosine", o.final_fraction); },
                       [](const OneCycle& o) { return call("one-cycle", o.pct_start, o.div, o.final_div); },
                       [](const ReduceOnPlateau& o) {
                         return call("plateau", o.factor, static_cast<double>(o.patience), o.threshold, o.min_rate);
                       }},
      schedule.decay);
  return decay + call(" after ", static_cast<double>(schedule.warmup_steps), schedule.warmup_start);
}

std::string text(const std::vector<Phase>& phases) {
  std::string all;
  for (const auto& phase : phases) {
    all += (all.empty() ? "" : "; ") + std::to_string(phase.epochs) + " epochs at " + text(phase.rate);
    if (!phase.freeze.empty()) all += ", freeze " + phase.freeze;
    if (phase.layer_decay) all += ", layer_decay " + text(*phase.layer_decay);
    if (phase.schedule) all += ", " + text(*phase.schedule);
  }
  return all;
}

std::string text(const std::vector<ParameterGroup>& groups) {
  std::string all;
  for (const auto& group : groups)
    all += (all.empty() ? "" : ", ") + call(group.layers.c_str(), group.rate, group.weight_decay);
  return all.empty() ? "none" : all;
}

std::string text(const std::vector<double>& values) {
  std::string all;
  for (const double value : values) all += (all.empty() ? "" : ", ") + text(value);
  return all.empty() ? "none" : all;
}

std::string shortened(base::Sha256& sha) { return sha.hex().substr(0, 16); }

/// Names and labels of all examples, and how they are read.
std::string text(const Dataset* data) {
  if (!data) return "none";
  base::Sha256 sha;
  for (const auto& name : data->classes()) sha.update(name + "\n");
  for (std::size_t i = 0; i < data->size(); ++i)
    sha.update(data->name(i) + "\n" + std::to_string(data->label(i)) + "\n");
  return std::to_string(data->size()) + " examples " + shortened(sha) + " " + data::to_text(data->augment()) +
         (data->on_bad_image() == OnBadImage::kSkip ? "skip" : "fail");
}

/// What they are made from, and how that is decoded. Of many not all: a run shall not begin with reading all it has.
std::string contents(const Dataset* data) {
  if (!data) return "none";
  constexpr std::size_t kMost = 256;
  const auto size = data->size(), count = std::min(size, kMost);
  base::Sha256 sha;
  for (std::size_t i = 0; i < count; ++i) sha.update(data->content_id(i * size / count) + "\n");
  return shortened(sha);
}

/// Layers and their outputs: what is cut off, what is put behind, and what comes in between.
std::string text(const ModelInfo& info) {
  base::Sha256 sha;
  for (const auto& layer : info.layers)
    sha.update(c10::str(layer.name, " ", layer.type, " ", at::IntArrayRef(layer.output_shape), "\n"));
  return info.family + ", " + info.origin + ", " + std::to_string(info.layers.size()) + " layers " + shortened(sha);
}

/// A vocabulary is too much for a message.
std::string text(const Input& input) {
  const auto all = model::input_json(input);
  return takes_text(input) ? "tokenizer " + base::Sha256().update(all).hex().substr(0, 16) : all;
}

}  // namespace

std::map<std::string, std::string> settings_of(const Model& model, const TrainerOptions& o, const FitOptions& fit,
                                               const std::vector<Phase>& phases, const Dataset& train,
                                               const Dataset* val) {
  const auto info = model.inspect();
  std::map<std::string, std::string> settings{
      {"accumulate", std::to_string(o.accumulate)},
      {"augmented_variants", std::to_string(o.feature_cache.augmented_variants)},
      {"balance", std::to_string(static_cast<int>(o.balance))},
      {"batch_norm", std::string(to_string(model.batch_norm()))},
      {"batch_size", std::to_string(fit.batch_size)},
      {"class_weights", text(o.class_weights)},
      {"clipping", call("", o.clip_norm, o.clip_value)},
      {"decay_one_dimensional", o.decay_one_dimensional ? "yes" : "no"},
      {"early_stopping", call("", static_cast<double>(fit.early_stopping.patience), fit.early_stopping.min_delta,
                              double(fit.early_stopping.by_accuracy))},
      {"ema_decay", text(o.ema_decay)},
      {"feature_cache", o.feature_cache.enabled ? "on" : "off"},
      {"frozen weights", model.frozen_hash()},
      {"groups", text(o.groups)},
      {"head", info.head_kind},
      {"input", text(model.input())},
      {"label_smoothing", text(o.label_smoothing)},
      {"layer_decay", text(o.layer_decay)},
      {"mixing", call("", o.mixup_alpha, o.cutmix_alpha)},
      {"network", text(info)},
      {"numerics", o.numerics == Numerics::kKeras ? "keras" : "torch"},
      {"optimizer", text(o.optimizer)},
      {"phases", text(phases)},
      {"precision", std::string(to_string(o.precision))},
      {"schedule", text(o.schedule)},
      {"seed", std::to_string(o.seed)},
      {"shuffle", fit.shuffle ? "yes" : "no"},
      {"starting weights", info.sha256},
      {"steps_per_epoch", std::to_string(fit.steps_per_epoch)},
      {"training contents", contents(&train)},
      {"training data", text(&train)},
      {"validation contents", contents(val)},
      {"validation data", text(val)}};
  if (fit.processes) settings["processes"] = std::to_string(fit.processes->size());
  return settings;
}

}  // namespace graft::train
