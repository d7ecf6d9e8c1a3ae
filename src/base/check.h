/// Checks of options: one form of words for all of them.
#pragma once

#include <string>
#include <type_traits>

#include <graft/error.h>

#include "base/text.h"

namespace graft::base {

/// Throws Error kConfig "WHAT: expected EXPECTED, found FOUND".
[[noreturn]] inline void refuse(const std::string& what, const std::string& expected, const std::string& found) {
  throw Error(ErrorCode::kConfig, what + ": expected " + expected + ", found " + found);
}

/// refuse() unless `fine`.
template <class Number>
void require(bool fine, const std::string& what, const std::string& expected, Number found) {
  if (fine) return;
  if constexpr (std::is_floating_point_v<Number>) refuse(what, expected, shortest(found));
  refuse(what, expected, std::to_string(found));
}

}  // namespace graft::base
