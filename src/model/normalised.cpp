#include "model/normalised.h"

#include <array>

#include <ATen/ATen.h>

namespace graft::model {

namespace {

/// [1, 3, 1, 1]. Filled on the device: a copy from here could not be recorded (base/cuda_graph.h).
at::Tensor by_channel(const std::array<double, 3>& values, const at::Tensor& beside) {
  const auto tensor = at::empty({1, 3, 1, 1}, beside.options().dtype(at::kFloat));
  for (std::size_t c = 0; c < values.size(); ++c) tensor.select(1, static_cast<std::int64_t>(c)).fill_(values[c]);
  return tensor;
}

}  // namespace

at::Tensor normalised(const at::Tensor& pixels, const Preprocessing& p) {
  const auto ordered = p.channels == ChannelOrder::kBgr ? pixels.flip(1) : pixels;
  const auto divisor = at::full({}, static_cast<float>(1 / p.scale), ordered.options().dtype(at::kFloat));
  return ordered.to(at::kFloat)
      .div_(divisor)
      .sub_(by_channel(p.mean, pixels))
      .div_(by_channel(p.std, pixels))
      .contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace graft::model
