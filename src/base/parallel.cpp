#include "base/parallel.h"

#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>

namespace graft::base {

void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  c10::function_ref<void(std::int64_t, std::int64_t)> work) {
  if (end - begin <= grain) {
    if (begin < end) work(begin, end);
    return;
  }
  // An iterator's loop is shared out inside of LibTorch: one over a byte for each place, which nobody touches.
  at::Tensor places = at::empty({end - begin}, at::kByte);
  auto iterator = at::TensorIterator::nullary_op(places);
  const auto* first = places.const_data_ptr<std::uint8_t>();
  iterator.for_each(
      [&](char** data, const std::int64_t*, std::int64_t inner, std::int64_t outer) {
        const auto from = begin + (reinterpret_cast<const std::uint8_t*>(data[0]) - first);
        work(from, from + inner * outer);
      },
      grain);
}

}  // namespace graft::base
