#include <nlohmann/json.hpp>

#include <graft/report.h>

#include "base/translate.h"
#include "report/epoch_json.h"

namespace graft {

namespace {

using nlohmann::json;

/// File names need not be UTF-8; bytes that are not become U+FFFD.
std::string dump(const json& document) { return document.dump(1, ' ', false, json::error_handler_t::replace); }

json optional_number(const std::optional<double>& value) { return value ? json(*value) : json(nullptr); }

json bad_images_json(const std::vector<BadImage>& bad) {
  json list = json::array();
  for (const auto& image : bad) list.push_back({{"file", image.name}, {"error", image.message}});
  return list;
}

json per_class_json(const std::vector<ClassScores>& scores) {
  json list = json::array();
  for (const auto& c : scores)
    list.push_back({{"id", c.name},
                    {"support", c.support},
                    {"precision", c.precision},
                    {"recall", c.recall},
                    {"f1", c.f1},
                    {"roc_auc", optional_number(c.roc_auc)}});
  return list;
}

json averages_json(const Averages& a) { return {{"precision", a.precision}, {"recall", a.recall}, {"f1", a.f1}}; }

json interval_json(const Interval& interval) { return {interval.low, interval.high}; }
json interval_json(const std::optional<Interval>& interval) {
  return interval ? interval_json(*interval) : json(nullptr);
}

json reliability_json(const std::vector<ReliabilityBin>& bins) {
  json list = json::array();
  for (const auto& bin : bins)
    list.push_back({{"count", bin.count}, {"confidence", bin.confidence}, {"accuracy", bin.accuracy}});
  return list;
}

json top_losses_json(const Evaluation& e) {
  const auto name = [&](std::int64_t index) { return e.per_class.at(static_cast<std::size_t>(index)).name; };
  json list = json::array();
  for (const auto& loss : e.top_losses)
    list.push_back({{"index", loss.index},
                    {"file", loss.name},
                    {"true", name(loss.true_class)},
                    {"predicted", name(loss.predicted_class)},
                    {"probability", loss.probability},
                    {"loss", loss.loss}});
  return list;
}

json rejection_json(const std::optional<Rejection>& rejection) {
  if (!rejection) return nullptr;
  return {{"reject_below", rejection->reject_below},
          {"coverage", rejection->coverage},
          {"accuracy", optional_number(rejection->accuracy)}};
}

json int8_json(const Int8Info& int8) {
  return {{"examples", int8.pictures},
          {"top1_agreement", optional_number(int8.top1_agreement)},
          {"mean_difference", int8.mean_difference},
          {"max_difference", int8.max_difference},
          {"float32_accuracy", optional_number(int8.float32_accuracy)},
          {"int8_accuracy", optional_number(int8.int8_accuracy)}};
}

}  // namespace

json report::epoch_json(const EpochInfo& epoch) {
  json rates = json::array();
  for (const auto& one : epoch.learning_rates) rates.push_back({{"group", one.group}, {"rate", one.rate}});
  return {{"phase", epoch.phase},
          {"loss", epoch.loss},
          {"accuracy", epoch.accuracy},
          {"val_loss", optional_number(epoch.val_loss)},
          {"val_accuracy", optional_number(epoch.val_accuracy)},
          {"val_top5_accuracy", optional_number(epoch.val_top5_accuracy)},
          {"learning_rate", epoch.learning_rate},
          {"learning_rates", std::move(rates)},
          {"seconds", epoch.seconds}};
}

std::string to_json(const QuantizationReport& report) {
  return base::translated("report", [&] {
    return dump({{"convolutions", report.convolutions},
                 {"convolutions_in_int8", report.convolutions_in_int8},
                 {"linear_in_int8", report.linear_in_int8},
                 {"in_float", report.in_float},
                 {"golden_difference", report.golden_difference},
                 {"int8", int8_json(report.int8)},
                 {"bad_images", bad_images_json(report.bad_images)}});
  });
}

std::string to_json(const History& history) {
  return base::translated("report", [&] {
    json epochs = json::array();
    for (const auto& epoch : history.epochs) epochs.push_back(report::epoch_json(epoch));
    return dump({{"epochs", std::move(epochs)},
                 {"best", history.best},
                 {"frozen_unchanged", history.frozen_unchanged},
                 {"stopped_early", history.stopped_early},
                 {"interrupted", history.interrupted},
                 {"resumed_at", history.resumed_at},
                 {"batch_size", history.batch_size},
                 {"images_per_second", history.images_per_second},
                 {"bad_images", bad_images_json(history.bad_images)}});
  });
}

std::string to_json(const Evaluation& e) {
  return base::translated("report", [&] {
    json tasks = json::array();
    for (const auto& task : e.tasks)
      tasks.push_back({{"name", task.name},
                       {"kind", std::string(to_string(task.kind))},
                       {"loss", task.loss},
                       {"accuracy", optional_number(task.accuracy)},
                       {"mean_average_precision", optional_number(task.mean_average_precision)},
                       {"roc_auc", optional_number(task.roc_auc)},
                       {"mean_absolute_error", optional_number(task.mean_absolute_error)},
                       {"root_mean_squared_error", optional_number(task.root_mean_squared_error)},
                       {"r2", optional_number(task.r2)},
                       {"per_class", per_class_json(task.per_class)}});
    return dump({{"accuracy", e.accuracy},
                 {"top5_accuracy", e.top5_accuracy},
                 {"loss", e.loss},
                 {"nll", e.nll},
                 {"ece", e.ece},
                 {"reliability", reliability_json(e.reliability)},
                 {"examples", e.examples},
                 {"per_class", per_class_json(e.per_class)},
                 {"macro", averages_json(e.macro)},
                 {"weighted", averages_json(e.weighted)},
                 {"roc_auc", optional_number(e.roc_auc)},
                 {"confusion", e.confusion},
                 {"accuracy_interval", interval_json(e.accuracy_interval)},
                 {"macro_f1_interval", interval_json(e.macro_f1_interval)},
                 {"top_losses", top_losses_json(e)},
                 {"rejection", rejection_json(e.rejection)},
                 {"tasks", std::move(tasks)},
                 {"bad_images", bad_images_json(e.bad_images)},
                 {"images_per_second", e.images_per_second}});
  });
}

std::string to_json(const CalibrationReport& report) {
  return base::translated("report", [&] {
    return dump({{"examples", report.examples},
                 {"temperature", report.calibration.temperature},
                 {"temperature_found", report.temperature_found},
                 {"reject_below", optional_number(report.calibration.reject_below)},
                 {"ece_before", report.ece_before},
                 {"ece_after", report.ece_after},
                 {"nll_before", report.nll_before},
                 {"nll_after", report.nll_after},
                 {"accuracy", report.accuracy},
                 {"coverage", report.coverage},
                 {"accuracy_of_answers", optional_number(report.accuracy_of_answers)},
                 {"bad_images", bad_images_json(report.bad_images)}});
  });
}

std::string to_json(const ModelComparison& c) {
  return base::translated("report", [&] {
    const auto model = [](const ComparedModel& m) -> json {
      return {{"accuracy", m.accuracy}, {"ece", m.ece}, {"nll", m.nll}};
    };
    return dump({{"examples", c.examples},
                 {"first", model(c.first)},
                 {"second", model(c.second)},
                 {"both_right", c.both_right},
                 {"only_first_right", c.only_first_right},
                 {"only_second_right", c.only_second_right},
                 {"both_wrong", c.both_wrong},
                 {"mcnemar",
                  {{"exact_p", c.mcnemar.exact_p},
                   {"chi_squared", c.mcnemar.chi_squared},
                   {"chi_squared_p", c.mcnemar.chi_squared_p}}},
                 {"difference", c.difference},
                 {"difference_interval", interval_json(c.difference_interval)},
                 {"bad_images", bad_images_json(c.bad_images)}});
  });
}

std::string to_json(const PlanInfo& info) {
  return base::translated("report", [&] {
    json operators = json::array();
    for (const auto& one : info.operators)
      operators.push_back({{"name", one.name}, {"count", one.count}, {"by", one.by}});
    return dump({{"precision", std::string(to_string(info.precision))},
                 {"obstacle", info.obstacle.empty() ? json(nullptr) : json(info.obstacle)},
                 {"convolutions", info.convolutions},
                 {"fused", info.fused},
                 {"with_relu", info.with_relu},
                 {"with_add", info.with_add},
                 {"operators", std::move(operators)},
                 {"unfused", info.unfused}});
  });
}

namespace {

json preprocessing_json(const Input& input) {
  const auto* p = std::get_if<Preprocessing>(&input);
  if (!p) return nullptr;
  return {{"resize_shorter_px", p->resize_shorter_px ? json(*p->resize_shorter_px) : json(nullptr)},
          {"crop_height_px", p->crop_height_px},
          {"crop_width_px", p->crop_width_px},
          {"interpolation", std::string(to_string(p->interpolation))},
          {"channels", std::string(to_string(p->channels))},
          {"scale", p->scale},
          {"mean", p->mean},
          {"std", p->std}};
}

json tokenizer_json(const Input& input) {
  const auto* tokenizer = std::get_if<Tokenizer>(&input);
  if (!tokenizer) return nullptr;
  const auto& o = tokenizer->options();
  return {{"type", "wordpiece"},
          {"vocabulary", tokenizer->vocabulary().size()},
          {"max_length", o.max_length},
          {"lower_case", o.lower_case},
          {"strip_accents", o.strip_accents.value_or(o.lower_case)},
          {"split_cjk", o.split_cjk}};
}

}  // namespace

std::string to_json(const ModelInfo& info) {
  return base::translated("report", [&] {
    json layers = json::array();
    for (const auto& layer : info.layers)
      layers.push_back({{"name", layer.name},
                        {"type", layer.type},
                        {"output_shape", layer.output_shape},
                        {"parameters", layer.parameters},
                        {"trainable", layer.trainable}});
    json labels = json::array();
    for (const auto& label : info.labels) labels.push_back({{"id", label.id}, {"label", label.name}});
    json tasks = json::array();
    for (const auto& task : info.tasks)
      tasks.push_back({{"name", task.name},
                       {"kind", std::string(to_string(task.kind))},
                       {"outputs", task.outputs},
                       {"temperature", task.calibration.temperature},
                       {"reject_below", optional_number(task.calibration.reject_below)}});
    return dump({{"family", info.family},
                 {"origin", info.origin},
                 {"input_shape", info.input_shape},
                 {"classes", info.classes},
                 {"parameters", info.parameters},
                 {"trainable", info.trainable},
                 {"head", info.head},
                 {"head_kind", info.head_kind},
                 {"features_layer", info.features_layer},
                 {"penultimate_layer", info.penultimate_layer},
                 {"batch_norm", info.batch_norm},
                 {"preprocessing", preprocessing_json(info.input)},
                 {"tokenizer", tokenizer_json(info.input)},
                 {"tasks", std::move(tasks)},
                 {"labels", std::move(labels)},
                 {"sha256", info.sha256},
                 {"int8", info.int8 ? int8_json(*info.int8) : json(nullptr)},
                 {"layers", std::move(layers)}});
  });
}

}  // namespace graft
