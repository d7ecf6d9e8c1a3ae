/// Texts of different lengths in one batch.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace graft::text {

/// [rows, length of the longest], int64, CPU, page-locked if `pinned`: shorter rows are filled up at the end.
at::Tensor padded(const std::vector<std::vector<std::int64_t>>& rows, std::int64_t padding, bool pinned = false);

}  // namespace graft::text
