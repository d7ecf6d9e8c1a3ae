/// Tasks over the columns of a network's outputs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/task.h>

namespace graft::model {

/// Throws Error kConfig unless it can be that of a task of this kind.
void check_calibration(const Calibration& calibration, TaskKind kind);

std::int64_t outputs_of(const std::vector<Task>& tasks);

/// The only one for an empty name. Throws Error kConfig listing the names if there is none of that name.
const Task& task_named(const std::vector<Task>& tasks, std::string_view name);

/// The first of single labels; null if there is none.
const Task* first_of_single_labels(const std::vector<Task>& tasks);

/// The column at which `task`, an element of `tasks`, begins.
std::int64_t first_output(const std::vector<Task>& tasks, const Task& task);

/// Logits divided by the task's temperature: those whose softmax is answered.
at::Tensor calibrated(const Task& task, const at::Tensor& logits);
/// The same for all tasks, [N, outputs].
at::Tensor calibrated(const std::vector<Task>& tasks, const at::Tensor& logits);

/// Probabilities, or the numbers themselves: softmax, a sigmoid each, or nothing, over [N, outputs of the task].
at::Tensor activated(const Task& task, const at::Tensor& logits);
/// The same for all tasks, [N, outputs].
at::Tensor activated(const std::vector<Task>& tasks, const at::Tensor& logits);

}  // namespace graft::model
