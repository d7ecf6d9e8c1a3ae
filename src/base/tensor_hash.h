/// Tensors by content.
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include "base/sha256.h"

namespace graft::base {

/// Name, shape, type and bytes.
void hash_tensor(Sha256& sha, std::string_view name, const at::Tensor& tensor);

}  // namespace graft::base
