#include "model/task.h"

#include <array>
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

}  // namespace

std::string_view to_string(TaskKind kind) noexcept { return name_of(kKinds, kind); }
TaskKind parse_task_kind(std::string_view text) { return value_of(kKinds, text, "kind of task"); }
std::string_view to_string(RegressionLoss loss) noexcept { return name_of(kLosses, loss); }
RegressionLoss parse_regression_loss(std::string_view text) { return value_of(kLosses, text, "loss"); }

namespace model {

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

std::int64_t first_output(const std::vector<Task>& tasks, const Task& task) {
  std::int64_t first = 0;
  for (const auto& other : tasks) {
    if (&other == &task) break;
    first += other.outputs;
  }
  return first;
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

at::Tensor activated(const std::vector<Task>& tasks, const at::Tensor& logits) {
  std::vector<at::Tensor> parts;
  std::int64_t first = 0;
  for (const auto& task : tasks) {
    parts.push_back(activated(task, logits.narrow(1, first, task.outputs)));
    first += task.outputs;
  }
  return at::cat(parts, 1);
}

}  // namespace model
}  // namespace graft
