#include "data/classes.h"

#include <map>

#include <graft/error.h>

#include "base/text.h"

namespace graft::data {

void check_class_names(const std::vector<std::string>& classes) {
  std::map<std::string, std::string> seen;
  for (const auto& name : classes) {
    if (!base::is_utf8(name))
      throw Error(ErrorCode::kFormat,
                  "expected classes with names in UTF-8, found \"" + base::with_bytes_shown(name) + "\"");
    if (const auto [other, fresh] = seen.emplace(base::lower_case(name), name); !fresh)
      throw Error(ErrorCode::kMismatch,
                  "classes \"" + other->second + "\" and \"" + name + "\" are the same but for upper and lower case");
  }
}

std::int64_t label_of(const Dataset& data, std::size_t example) {
  const auto label = data.label(example), classes = std::ssize(data.classes());
  if (label < 0 || label >= classes)
    throw Error(ErrorCode::kMismatch, data.name(example) + ": expected a label from 0 to " +
                                          std::to_string(classes - 1) + ", found " + std::to_string(label));
  return label;
}

}  // namespace graft::data
