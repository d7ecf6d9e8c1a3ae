#include "data/class_names.h"

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

}  // namespace graft::data
