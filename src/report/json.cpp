#include <nlohmann/json.hpp>

#include <graft/report.h>

namespace graft {

namespace {

using nlohmann::json;

/// File names need not be UTF-8; bytes that are not become U+FFFD.
std::string dump(const json& document) { return document.dump(1, ' ', false, json::error_handler_t::replace); }

json optional_number(const std::optional<double>& value) { return value ? json(*value) : json(nullptr); }

json bad_images_json(const std::vector<BadImage>& bad) {
  json list = json::array();
  for (const auto& image : bad) list.push_back({{"file", image.name}, {"message", image.message}});
  return list;
}

json per_class_json(const std::vector<ClassScores>& scores) {
  json list = json::array();
  for (const auto& c : scores)
    list.push_back(
        {{"name", c.name}, {"support", c.support}, {"precision", c.precision}, {"recall", c.recall}, {"f1", c.f1}});
  return list;
}

json int8_json(const Int8Info& int8) {
  return {{"pictures", int8.pictures},
          {"top1_agreement", optional_number(int8.top1_agreement)},
          {"mean_difference", int8.mean_difference},
          {"max_difference", int8.max_difference},
          {"float32_accuracy", optional_number(int8.float32_accuracy)},
          {"int8_accuracy", optional_number(int8.int8_accuracy)}};
}

}  // namespace

std::string to_json(const QuantizationReport& report) {
  return dump({{"convolutions", report.convolutions},
               {"convolutions_in_int8", report.convolutions_in_int8},
               {"linear_in_int8", report.linear_in_int8},
               {"in_float", report.in_float},
               {"golden_difference", report.golden_difference},
               {"int8", int8_json(report.int8)},
               {"bad_images", bad_images_json(report.bad_images)}});
}

std::string to_json(const History& history) {
  json epochs = json::array();
  for (const auto& epoch : history.epochs)
    epochs.push_back({{"loss", epoch.loss},
                      {"accuracy", epoch.accuracy},
                      {"val_loss", optional_number(epoch.val_loss)},
                      {"val_accuracy", optional_number(epoch.val_accuracy)},
                      {"val_top5_accuracy", optional_number(epoch.val_top5_accuracy)},
                      {"learning_rate", epoch.learning_rate},
                      {"seconds", epoch.seconds}});
  return dump({{"epochs", std::move(epochs)},
               {"best", history.best},
               {"frozen_unchanged", history.frozen_unchanged},
               {"images_per_second", history.images_per_second},
               {"bad_images", bad_images_json(history.bad_images)}});
}

std::string to_json(const Evaluation& e) {
  json tasks = json::array();
  for (const auto& task : e.tasks)
    tasks.push_back({{"name", task.name},
                     {"kind", std::string(to_string(task.kind))},
                     {"loss", task.loss},
                     {"accuracy", optional_number(task.accuracy)},
                     {"mean_average_precision", optional_number(task.mean_average_precision)},
                     {"mean_absolute_error", optional_number(task.mean_absolute_error)},
                     {"root_mean_squared_error", optional_number(task.root_mean_squared_error)},
                     {"r2", optional_number(task.r2)},
                     {"per_class", per_class_json(task.per_class)}});
  return dump({{"accuracy", e.accuracy},
               {"top5_accuracy", e.top5_accuracy},
               {"loss", e.loss},
               {"ece", e.ece},
               {"examples", e.examples},
               {"per_class", per_class_json(e.per_class)},
               {"confusion", e.confusion},
               {"tasks", std::move(tasks)},
               {"bad_images", bad_images_json(e.bad_images)},
               {"images_per_second", e.images_per_second}});
}

std::string to_json(const PlanInfo& info) {
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
}

std::string to_json(const ModelInfo& info) {
  json layers = json::array();
  for (const auto& layer : info.layers)
    layers.push_back({{"name", layer.name},
                      {"type", layer.type},
                      {"output_shape", layer.output_shape},
                      {"parameters", layer.parameters},
                      {"trainable", layer.trainable}});
  json labels = json::array();
  for (const auto& label : info.labels) labels.push_back({{"id", label.id}, {"name", label.name}});
  json tasks = json::array();
  for (const auto& task : info.tasks)
    tasks.push_back({{"name", task.name}, {"kind", std::string(to_string(task.kind))}, {"outputs", task.outputs}});
  const auto& p = info.preprocessing;
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
               {"preprocessing",
                {{"resize_shorter_px", p.resize_shorter_px ? json(*p.resize_shorter_px) : json(nullptr)},
                 {"crop_height_px", p.crop_height_px},
                 {"crop_width_px", p.crop_width_px},
                 {"interpolation", std::string(to_string(p.interpolation))},
                 {"channels", std::string(to_string(p.channels))},
                 {"scale", p.scale},
                 {"mean", p.mean},
                 {"std", p.std}}},
               {"tasks", std::move(tasks)},
               {"labels", std::move(labels)},
               {"sha256", info.sha256},
               {"int8", info.int8 ? int8_json(*info.int8) : json(nullptr)},
               {"layers", std::move(layers)}});
}

}  // namespace graft
