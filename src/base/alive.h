/// Handles that were moved from.
#pragma once

#include <string>

#include <graft/error.h>

namespace graft::base {

/// What a handle holds. Throws Error kConfig if it holds nothing any more.
template <class Pointer>
auto& alive(const Pointer& held, const char* type) {
  if (!held)
    throw Error(ErrorCode::kConfig, std::string("this ") + type +
                                        " was moved from and holds nothing any more: use the one it was moved to, or "
                                        "assign a new one");
  return *held;
}

}  // namespace graft::base
