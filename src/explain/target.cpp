#include "explain/target.h"

#include <ATen/ATen.h>

#include <graft/error.h>

#include "base/text.h"
#include "model/task.h"

namespace graft::explain {

namespace {

/// The class whose id this is, or whose name, if that is no other's.
std::int64_t class_called(std::span<const Label> labels, const std::string& text) {
  std::vector<std::string> ids;
  std::optional<std::int64_t> named;
  std::int64_t names = 0;
  for (std::int64_t i = 0; i < std::ssize(labels); ++i) {
    const auto& label = labels[static_cast<std::size_t>(i)];
    if (label.id == text) return i;
    if (label.name == text) {
      named = i;
      ++names;
    }
    ids.push_back(label.id);
  }
  if (names == 1) return *named;
  throw Error(ErrorCode::kConfig, "class: expected the id of one of the model's, " + base::list_names(ids) +
                                      (names ? ", found a name that several have: \"" : ", found \"") + text + "\"");
}

}  // namespace

Target::Target(const Model::Impl& model, const std::string& task, const std::string& class_id)
    : model_(model), task_(model::task_named(model.tasks, task)), first_(model::first_output(model.tasks, task_)) {
  const auto labels =
      std::span(model.labels).subspan(static_cast<std::size_t>(first_), static_cast<std::size_t>(task_.outputs));
  if (!class_id.empty()) {
    column_ = first_ + class_called(labels, class_id);
  } else if (task_.kind == TaskKind::kRegression) {
    if (task_.outputs > 1)
      throw Error(ErrorCode::kConfig,
                  "a regression predicts no class: name one of its " + std::to_string(task_.outputs) + " outputs");
    column_ = first_;
  }
}

at::Tensor Target::columns(const at::Tensor& logits) const {
  if (column_) return at::full({logits.size(0), 1}, *column_, logits.options().dtype(at::kLong));
  return logits.narrow(1, first_, task_.outputs).argmax(1, /*keepdim=*/true) + first_;
}

at::Tensor Target::answers(const at::Tensor& logits, const at::Tensor& columns) const {
  const auto own = model::calibrated(task_, logits.narrow(1, first_, task_.outputs));
  return model::activated(task_, own).gather(1, columns - first_).squeeze(1);
}

std::vector<Prediction> Target::describe(const at::Tensor& columns, const at::Tensor& answers) const {
  const auto column = columns.to(at::kCPU), answer = answers.to(at::kCPU);
  std::vector<Prediction> described;
  for (std::int64_t n = 0; n < column.size(0); ++n) {
    const auto at = column[n][0].item<std::int64_t>();
    const auto& label = model_.labels[static_cast<std::size_t>(at)];
    described.push_back({at - first_, label.id, label.name, answer[n].item<float>()});
  }
  return described;
}

std::vector<HeatMap> heat_maps(const at::Tensor& heat, const std::vector<Prediction>& explained) {
  const auto positive = heat.to(at::kCPU).clamp_min(0).contiguous();
  if (!positive.isfinite().all().item<bool>()) throw Error(ErrorCode::kNumeric, "explaining: the heat is not finite");
  std::vector<HeatMap> maps;
  for (std::int64_t n = 0; n < positive.size(0); ++n) {
    const auto largest = positive[n].max();
    maps.push_back(
        {largest.item<float>() > 0 ? positive[n] / largest : positive[n], explained[static_cast<std::size_t>(n)]});
  }
  return maps;
}

}  // namespace graft::explain
