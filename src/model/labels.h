/// Rules for class labels.
#pragma once

#include <cstdint>
#include <vector>

#include <graft/inspect.h>
#include <graft/task.h>

namespace graft::model {

/// "0", "1", ...
std::vector<Label> numbered_labels(std::int64_t classes);

/// Throws Error kMismatch unless there is one label for each output and the ids are unique within each task.
void check_labels(const std::vector<Label>& labels, const std::vector<Task>& tasks);

}  // namespace graft::model
