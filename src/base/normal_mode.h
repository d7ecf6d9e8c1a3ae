/// Work that must not inherit c10::InferenceMode.
#pragma once

#include <optional>

#include <c10/core/InferenceMode.h>

namespace graft::base {

/// Leaves inference mode for a scope, in which gradients are recorded then. Tensors made within can be trained later.
class NormalMode {
 public:
  NormalMode() {
    if (c10::InferenceMode::is_enabled()) normal_.emplace(false);
  }

 private:
  std::optional<c10::InferenceMode> normal_;
};

}  // namespace graft::base
