/// Names of classes, as folders or tables have them, and labels, which number them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <graft/dataset.h>

namespace graft::data {

/// Throws Error kFormat for a name that is not UTF-8, kMismatch for two that are the same but for upper and lower case.
void check_class_names(const std::vector<std::string>& classes);

/// An example's label. Throws Error kMismatch, naming the example, unless it is that of a class.
std::int64_t label_of(const Dataset& data, std::size_t example);

}  // namespace graft::data
