#include <algorithm>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/embeddings.h>
#include <graft/error.h>

#include "base/check.h"
#include "base/translate.h"
#include "explain/features.h"

namespace graft {

std::vector<Neighbor> nearest(const at::Tensor& query, const at::Tensor& index, std::int64_t k) {
  base::require(k >= 1, "k", "1 or more", k);
  return base::translated("finding the nearest", [&] {
    const at::NoGradGuard no_grad;
    const auto rows = explain::checked_features(index, 1, 1);
    if (!query.defined() || query.dim() != 1 || query.size(0) != rows.size(1))
      throw Error(ErrorCode::kMismatch,
                  c10::str("query: expected [", rows.size(1), "], as wide as the index, found ") +
                      (query.defined() ? c10::str(query.sizes()) : std::string("an undefined tensor")));
    const auto one = explain::checked_features(query.unsqueeze(0), 1, 1)[0];
    // The square of any float32 is a float64.
    const auto precise_rows = rows.to(at::kDouble), precise_one = one.to(at::kDouble);
    const auto lengths = precise_rows.norm(2, 1) * precise_one.norm();
    const auto similarity =
        at::where(lengths > 0, precise_rows.mv(precise_one) / lengths, 0).clamp(-1, 1).to(at::kFloat);
    const auto [values, indices] = similarity.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
    std::vector<Neighbor> found;
    for (std::int64_t i = 0; i < std::min(k, rows.size(0)); ++i)
      found.push_back({indices[i].item<std::int64_t>(), values[i].item<float>()});
    return found;
  });
}

}  // namespace graft
