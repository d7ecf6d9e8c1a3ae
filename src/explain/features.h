/// Checks of feature vectors.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace graft::explain {

/// `features` on the CPU, contiguous. Throws Error kMismatch unless [N, C] of float32 with N >= rows and C >= columns,
/// kNumeric if a value is not finite.
at::Tensor checked_features(const at::Tensor& features, std::int64_t rows, std::int64_t columns);

/// pca() in double precision, [N, 2].
at::Tensor principal_components(const at::Tensor& features);

}  // namespace graft::explain
