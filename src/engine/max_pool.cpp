#include "engine/max_pool.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/native/Pool.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/record_function.h>

#include "base/cpu_clones.h"
#include "base/parallel.h"
#include "engine/registered_operators.h"

namespace graft::engine {

const c10::Symbol kMaxPool = c10::Symbol::fromQualString("graft::max_pool2d");

namespace {

/// Fewest results that are worth a thread.
constexpr std::int64_t kGrain = 32768;

/// best[c] becomes the larger of best[c] and value[c]; NaN is larger than everything.
GRAFT_FOR_EACH_CPU void take_larger(float* __restrict best, const float* __restrict value, std::int64_t count) {
  for (std::int64_t c = 0; c < count; ++c) {
    const float a = best[c], b = value[c];
    best[c] = b > a || b != b ? b : a;
  }
}

GRAFT_FOR_EACH_CPU void take_larger(std::uint8_t* __restrict best, const std::uint8_t* __restrict value,
                                    std::int64_t count) {
  for (std::int64_t c = 0; c < count; ++c) best[c] = std::max(best[c], value[c]);
}

/// bfloat16's bits as an integer that is ordered as the numbers are, NaN above all of them.
inline std::int16_t order_of(std::int16_t bits) {
  const auto ordered = static_cast<std::int16_t>(bits ^ ((bits >> 15) & 0x7fff));
  return (bits & 0x7fff) > 0x7f80 ? std::int16_t{0x7fff} : ordered;
}

GRAFT_FOR_EACH_CPU void take_larger(std::int16_t* __restrict best, const std::int16_t* __restrict value,
                                    std::int64_t count) {
  for (std::int64_t c = 0; c < count; ++c) best[c] = order_of(best[c]) >= order_of(value[c]) ? best[c] : value[c];
}

/// The part of a window that lies in the picture, along one dimension.
struct Range {
  std::int64_t first, end, step;
};

Range window(std::int64_t place, std::int64_t size, const PoolWindows& w, std::size_t dimension) {
  const auto step = w.dilation[dimension];
  auto first = place * w.stride[dimension] - w.padding[dimension];
  const auto end = std::min(first + (w.kernel[dimension] - 1) * step + 1, size);
  while (first < 0) first += step;
  return {first, end, step};
}

template <class T>
void pool(const at::Tensor& input, const at::Tensor& output, const PoolWindows& windows) {
  const auto channels = input.size(1), height = input.size(2), width = input.size(3);
  const auto rows = output.size(2), columns = output.size(3);
  const auto* in = static_cast<const T*>(input.const_data_ptr());
  auto* out = static_cast<T*>(output.mutable_data_ptr());
  const auto grain = std::max<std::int64_t>(1, kGrain / (columns * channels));
  base::parallel_for(0, input.size(0) * rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      const auto* picture = in + row / rows * height * width * channels;
      const auto down = window(row % rows, height, windows, 0);
      for (std::int64_t column = 0; column < columns; ++column) {
        auto* best = out + (row * columns + column) * channels;
        const auto across = window(column, width, windows, 1);
        for (auto y = down.first; y < down.end; y += down.step) {
          for (auto x = across.first; x < across.end; x += across.step) {
            const auto* value = picture + (y * width + x) * channels;
            if (y == down.first && x == across.first) {
              std::copy_n(value, channels, best);
            } else {
              take_larger(best, value, channels);
            }
          }
        }
      }
    }
  });
}

bool is_ours(const at::Tensor& input, const PoolWindows& w) {
  const auto in_range = [](const std::vector<std::int64_t>& values, std::int64_t least) {
    return values.size() == 2 && values[0] >= least && values[1] >= least;
  };
  const auto type = input.scalar_type();
  return input.dim() == 4 && input.numel() > 0 && input.is_cpu() &&
         input.is_contiguous(at::MemoryFormat::ChannelsLast) &&
         (type == at::kFloat || type == at::kBFloat16 || type == at::kByte) && in_range(w.kernel, 1) &&
         in_range(w.stride, 1) && in_range(w.padding, 0) && in_range(w.dilation, 1) &&
         2 * w.padding[0] <= w.kernel[0] && 2 * w.padding[1] <= w.kernel[1];
}

void max_pool2d_operator(torch::jit::Stack& stack) {
  PoolWindows windows;
  at::Tensor input;
  torch::jit::pop(stack, input, windows.kernel, windows.stride, windows.padding, windows.dilation, windows.ceil_mode);
  torch::jit::push(stack, max_pool2d(input, windows));
}

}  // namespace

at::Tensor max_pool2d(const at::Tensor& input, const PoolWindows& given) {
  RECORD_FUNCTION("graft::max_pool2d", {});  // LibTorch's profilers see its own operators alone
  PoolWindows windows = given;
  if (windows.stride.empty()) windows.stride = windows.kernel;
  for (auto* values : {&windows.kernel, &windows.stride, &windows.padding, &windows.dilation})
    if (values->size() == 1) values->push_back(values->front());
  const auto size = [&](std::size_t d) {
    return at::native::pooling_output_shape<std::int64_t>(input.size(static_cast<std::int64_t>(d) + 2),
                                                          windows.kernel[d], windows.padding[d], windows.stride[d],
                                                          windows.dilation[d], windows.ceil_mode);
  };
  if (!is_ours(input, windows) || size(0) < 1 || size(1) < 1)
    return at::max_pool2d(input, given.kernel, given.stride, given.padding, given.dilation, given.ceil_mode);
  const auto output =
      at::empty({input.size(0), input.size(1), size(0), size(1)}, input.options(), at::MemoryFormat::ChannelsLast);
  switch (input.scalar_type()) {
    case at::kFloat:
      pool<float>(input, output, windows);
      break;
    case at::kBFloat16:
      pool<std::int16_t>(input, output, windows);
      break;
    default:
      pool<std::uint8_t>(input, output, windows);
  }
  return output;
}

void replace_max_pools(torch::jit::Graph& graph) {
  static const RegisteredOperators registered{
      {"graft::max_pool2d(Tensor x, int[2] kernel_size, int[2] stride, int[2] padding, int[2] dilation, "
       "bool ceil_mode) -> Tensor",
       max_pool2d_operator}};
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    torch::jit::Node* node = *it++;
    if (node->kind() != c10::aten::max_pool2d) continue;
    node->replaceWithNewSymbol(kMaxPool);
    node->destroy();
  }
}

}  // namespace graft::engine
