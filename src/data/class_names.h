/// Names of classes, as folders or tables have them.
#pragma once

#include <string>
#include <vector>

namespace graft::data {

/// Throws Error kFormat for a name that is not UTF-8, kMismatch for two that are the same but for upper and lower case.
void check_class_names(const std::vector<std::string>& classes);

}  // namespace graft::data
