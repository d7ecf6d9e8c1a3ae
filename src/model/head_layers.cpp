#include "model/head_layers.h"

#include <array>
#include <cmath>
#include <utility>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <graft/error.h>

namespace graft::model {

namespace {

constexpr std::array<std::pair<Pooling, std::string_view>, 5> kPoolings{{{Pooling::kAverage, "average"},
                                                                         {Pooling::kMax, "max"},
                                                                         {Pooling::kAverageMax, "average_max"},
                                                                         {Pooling::kGem, "gem"},
                                                                         {Pooling::kAttention, "attention"}}};

constexpr std::int64_t kAttentionUnits = 128;

}  // namespace

Initialisation::Initialisation(Initializer initializer, std::uint64_t seed)
    : initializer_(initializer), generator_(at::detail::createCPUGenerator(seed)) {}

at::Tensor Initialisation::weight(std::int64_t in, std::int64_t out) const {
  const double bound = initializer_ == Initializer::kKeras ? std::sqrt(6.0 / static_cast<double>(in + out))
                                                           : 1 / std::sqrt(static_cast<double>(in));
  return at::empty({out, in}, at::kFloat).uniform_(-bound, bound, generator_);
}

at::Tensor Initialisation::bias(std::int64_t in, std::int64_t out) const {
  if (initializer_ == Initializer::kKeras) return at::zeros({out}, at::kFloat);
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  return at::empty({out}, at::kFloat).uniform_(-bound, bound, generator_);
}

Pooled pool(Pooling pooling, const std::vector<std::int64_t>& shape, const Initialisation& init,
            const graph::Network& beside) {
  const bool map = shape.size() == 4, tokens = shape.size() == 3;
  const std::int64_t channels = map ? shape[1] : shape.back();
  const std::string places = map ? "[2, 3]" : "[1]";
  graph::NetworkBuilder layer("Pool", beside);
  if (!map && !tokens) {
    if (pooling != Pooling::kAverage && pooling != Pooling::kMax)
      throw Error(ErrorCode::kMismatch, "the pooling \"" + std::string(to_string(pooling)) +
                                            "\" needs a feature map [N, C, H, W] or tokens [N, T, C]; this cut yields "
                                            "[N, C]: cut at the features, or pool by average");
    return {layer.build("return x"), channels};
  }
  switch (pooling) {
    case Pooling::kAverage:
      return {layer.build("return torch.mean(x, " + places + ")"), channels};
    case Pooling::kMax:
      return {layer.build("return torch.amax(x, " + places + ")"), channels};
    case Pooling::kAverageMax:
      return {layer.build("return torch.cat([torch.mean(x, " + places + "), torch.amax(x, " + places + ")], 1)"),
              2 * channels};
    case Pooling::kGem:
      return {layer.parameter("p", at::full({1}, 3.0, at::kFloat))
                  .build("x = torch.pow(torch.clamp(x, 1e-6), self.p)\n"
                         "return torch.pow(torch.mean(x, " +
                         places + "), torch.reciprocal(self.p))"),
              channels};
    case Pooling::kAttention:
      return {layer.parameter("v", init.weight(channels, kAttentionUnits))
                  .parameter("w", init.weight(kAttentionUnits, 1))
                  .build((map ? "x = x.flatten(2).transpose(1, 2)\n" : std::string()) +
                         "score = torch.linear(torch.tanh(torch.linear(x, self.v)), self.w)\n"
                         "return torch.sum(torch.softmax(score, 1) * x, 1)"),
              channels};
  }
  throw Error(ErrorCode::kInternal, "unknown pooling");
}

graph::Network linear(std::int64_t in, std::int64_t out, const Initialisation& init, const graph::Network& beside) {
  auto weight = init.weight(in, out);
  return graph::NetworkBuilder("Linear", beside)
      .parameter("weight", std::move(weight))
      .parameter("bias", init.bias(in, out))
      .build("return torch.linear(x, self.weight, self.bias)");
}

std::string_view to_string(Pooling pooling) noexcept {
  for (const auto& [value, name] : kPoolings)
    if (value == pooling) return name;
  return "";
}

std::optional<Pooling> find_pooling(std::string_view text) {
  for (const auto& [value, name] : kPoolings)
    if (name == text) return value;
  return std::nullopt;
}

std::string with_pooling(Pooling pooling, const std::string& head) {
  return pooling == Pooling::kAverage ? head : std::string(to_string(pooling)) + "+" + head;
}

}  // namespace graft::model
