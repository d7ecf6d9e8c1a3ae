/// Rules for class labels.
#pragma once

#include <cstdint>
#include <vector>

#include <graft/inspect.h>

namespace graft::model {

/// "0", "1", ...
std::vector<Label> numbered_labels(std::int64_t classes);

/// Throws Error kMismatch unless there is one label for each class and the ids are unique.
void check_labels(const std::vector<Label>& labels, std::int64_t classes);

}  // namespace graft::model
