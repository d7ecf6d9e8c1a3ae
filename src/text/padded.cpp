#include "text/padded.h"

#include <algorithm>
#include <cstddef>

#include <ATen/ops/full.h>

namespace graft::text {

at::Tensor padded(const std::vector<std::vector<std::int64_t>>& rows, std::int64_t padding, bool pinned) {
  std::size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  auto batch = at::full({std::ssize(rows), static_cast<std::int64_t>(longest)}, padding,
                        at::TensorOptions().dtype(at::kLong).pinned_memory(pinned));
  auto* out = batch.mutable_data_ptr<std::int64_t>();
  for (const auto& row : rows) {
    std::ranges::copy(row, out);
    out += longest;
  }
  return batch;
}

}  // namespace graft::text
