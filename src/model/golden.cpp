#include "model/golden.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include <ATen/ATen.h>

#include <graft/error.h>

#include "base/overloaded.h"
#include "base/printf.h"
#include "image/pipeline.h"
#include "model/input.h"

namespace graft::model {

namespace {

/// models/artefact.py has the same.
constexpr const char* kGoldenText = "The quick brown fox: 42 caf\u00e9s, na\u00efve \u4e2d\u6587 & emoji \U0001f600!";

Image golden_picture() {
  constexpr int kSide = 64;
  std::vector<std::uint8_t> rgb;
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const bool inside = (x - 24) * (x - 24) + (y - 36) * (y - 36) < 256;
      rgb.push_back(static_cast<std::uint8_t>(inside ? 230 - y : 4 * x));
      rgb.push_back(static_cast<std::uint8_t>(inside ? 60 + 2 * x : 4 * y));
      rgb.push_back(static_cast<std::uint8_t>((x * 37 + y * 57) % 256));
    }
  }
  return Image(kSide, kSide, std::move(rgb));
}

at::Tensor input_of(const Image& picture, const Preprocessing& p) {
  const auto input = at::empty({1, 3, p.crop_height_px, p.crop_width_px}, at::kFloat, at::MemoryFormat::ChannelsLast);
  image::to_input(picture, p, std::span(input.mutable_data_ptr<float>(), static_cast<std::size_t>(input.numel())));
  return input;
}

}  // namespace

std::variant<Image, std::string> golden_example(const Input& input) {
  if (takes_text(input)) return std::string(kGoldenText);
  return golden_picture();
}

at::Tensor golden_input(const std::variant<Image, std::string>& example, const Input& input) {
  return std::visit(
      base::Overloaded{[&](const Image& picture) { return input_of(picture, preprocessing_of(input)); },
                       [&](const std::string& text) { return tokenizer_of(input).encode(std::vector{text}); }},
      example);
}

void check_golden(const Golden& golden, const at::Tensor& logits) {
  const auto expected = at::tensor(golden.logits);
  const auto found = logits.detach().to(at::kCPU, at::kFloat).flatten();
  if (found.sizes() != expected.sizes())
    throw Error(ErrorCode::kFormat, "its golden record has " + std::to_string(expected.numel()) +
                                        " logits, the network " + std::to_string(found.numel()));
  const double difference = (found - expected).abs().max().item<double>();
  const double allowed = golden.tolerance * std::max(1.0, expected.abs().max().item<double>());
  if (difference <= allowed) return;  // false for a difference that is no number
  throw Error(ErrorCode::kMismatch,
              "answers otherwise than when it was saved: largest difference of a logit " +
                  base::format("%g", difference) + ", expected at most " + base::format("%g", allowed) +
                  "; the network or its preprocessing was changed, or this LibTorch or machine computes otherwise "
                  "(LoadOptions::verify = false loads it all the same)");
}

}  // namespace graft::model
