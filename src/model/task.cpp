#include "model/task.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include <ATen/ops/cat.h>

#include <graft/error.h>

#include "base/check.h"

namespace graft {

namespace {

using namespace std::string_view_literals;

constexpr std::array kKinds{std::pair(TaskKind::kSingleLabel, "single_label"sv),
                            std::pair(TaskKind::kMultiLabel, "multi_label"sv),
                            std::pair(TaskKind::kRegression, "regression"sv)};
constexpr std::array kLosses{std::pair(RegressionLoss::kMeanSquared, "mean_squared"sv),
                             std::pair(RegressionLoss::kMeanAbsolute, "mean_absolute"sv),
                             std::pair(RegressionLoss::kHuber, "huber"sv)};

template <class Names, class Value>
std::string_view name_of(const Names& names, Value value) {
  for (const auto& [each, name] : names)
    if (each == value) return name;
  return "";
}

template <class Names>
auto value_of(const Names& names, std::string_view text, const char* what) {
  std::string expected;
  for (const auto& [value, name] : names) {
    if (name == text) return value;
    expected += (expected.empty() ? "" : ", ") + std::string(name);
  }
  base::refuse(what, "one of " + expected, "\"" + std::string(text) + "\"");
}

/// change(task, its columns) for each task, side by side.
template <class Change>
at::Tensor task_by_task(const std::vector<Task>& tasks, const at::Tensor& logits, const Change& change) {
  std::vector<at::Tensor> parts;
  std::int64_t first = 0;
  for (const auto& task : tasks) {
    parts.push_back(change(task, logits.narrow(1, first, task.outputs)));
    first += task.outputs;
  }
  return at::cat(parts, 1);
}

}  // namespace

std::string_view to_string(TaskKind kind) noexcept { return name_of(kKinds, kind); }
TaskKind parse_task_kind(std::string_view text) { return value_of(kKinds, text, "kind of task"); }
std::string_view to_string(RegressionLoss loss) noexcept { return name_of(kLosses, loss); }
RegressionLoss parse_regression_loss(std::string_view text) { return value_of(kLosses, text, "loss"); }

namespace model {

void check_calibration(const Calibration& calibration, TaskKind kind) {
  if (kind != TaskKind::kSingleLabel && calibration != Calibration{})
    base::refuse("calibration", "a task of single labels", std::string(to_string(kind)));
  const auto temperature = calibration.temperature;
  constexpr double kLeast = 1e-6;  // logits divided by less are no float32
  base::require(temperature >= kLeast && std::isfinite(temperature), "temperature", "1e-6 or more", temperature);
  if (const auto least = calibration.reject_below)
    base::require(*least >= 0 && *least <= 1, "reject_below", "a probability from 0 to 1", *least);
}

std::int64_t outputs_of(const std::vector<Task>& tasks) {
  std::int64_t sum = 0;
  for (const auto& task : tasks) sum += task.outputs;
  return sum;
}

const Task& task_named(const std::vector<Task>& tasks, std::string_view name) {
  if (name.empty() && tasks.size() == 1) return tasks.front();
  std::string names;
  for (const auto& task : tasks) {
    if (!name.empty() && task.name == name) return task;
    names += (names.empty() ? "" : ", ") + task.name;
  }
  base::refuse("task", "one of " + (names.empty() ? "none (this model has one task without a name)" : names),
               "\"" + std::string(name) + "\"");
}

const Task* first_of_single_labels(const std::vector<Task>& tasks) {
  const auto found = std::ranges::find(tasks, TaskKind::kSingleLabel, &Task::kind);
  return found == tasks.end() ? nullptr : &*found;
}

std::int64_t first_output(const std::vector<Task>& tasks, const Task& task) {
  std::int64_t first = 0;
  for (const auto& other : tasks) {
    if (&other == &task) break;
    first += other.outputs;
  }
  return first;
}

at::Tensor calibrated(const Task& task, const at::Tensor& logits) {
  return task.calibration.temperature == 1 ? logits : logits.div(task.calibration.temperature);
}

at::Tensor activated(const Task& task, const at::Tensor& logits) {
  switch (task.kind) {
    case TaskKind::kSingleLabel:
      return logits.softmax(1);
    case TaskKind::kMultiLabel:
      return logits.sigmoid();
    case TaskKind::kRegression:
      return logits;
  }
  throw Error(ErrorCode::kInternal, "unknown kind of task");
}

at::Tensor calibrated(const std::vector<Task>& tasks, const at::Tensor& logits) {
  return task_by_task(tasks, logits, [](const Task& task, const at::Tensor& part) { return calibrated(task, part); });
}

at::Tensor activated(const std::vector<Task>& tasks, const at::Tensor& logits) {
  return task_by_task(tasks, logits, [](const Task& task, const at::Tensor& part) { return activated(task, part); });
}

}  // namespace model
}  // namespace graft
