#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/embeddings.h>
#include <graft/error.h>

#include "base/translate.h"
#include "explain/features.h"

namespace graft {

namespace explain {

at::Tensor checked_features(const at::Tensor& features, std::int64_t rows, std::int64_t columns) {
  if (!features.defined() || features.dim() != 2 || features.scalar_type() != at::kFloat || features.size(0) < rows ||
      features.size(1) < columns)
    throw Error(ErrorCode::kMismatch,
                c10::str("features: expected [N, C] of float32 with N >= ", rows, " and C >= ", columns, ", found ") +
                    (features.defined() ? c10::str(features.sizes(), " of ", features.scalar_type())
                                        : std::string("an undefined tensor")));
  if (!features.isfinite().all().item<bool>())
    throw Error(ErrorCode::kNumeric, "features: expected finite numbers, found others");
  return features.detach().to(at::kCPU).contiguous();
}

at::Tensor principal_components(const at::Tensor& features) {
  const auto rows = features.to(at::kDouble);
  const auto [u, s, vh] = at::linalg_svd(rows - rows.mean(0, /*keepdim=*/true), /*full_matrices=*/false);
  const auto loadings = vh.narrow(0, 0, 2);
  const auto largest = loadings.gather(1, loadings.abs().argmax(1, /*keepdim=*/true)).squeeze(1);
  return u.narrow(1, 0, 2) * s.narrow(0, 0, 2) * at::where(largest < 0, -1.0, 1.0);
}

}  // namespace explain

at::Tensor pca(const at::Tensor& features) {
  return base::translated("principal components", [&] {
    const at::NoGradGuard no_grad;
    return explain::principal_components(explain::checked_features(features, 2, 2)).to(at::kFloat).contiguous();
  });
}

}  // namespace graft
