#include "model/input.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include <graft/error.h>

#include "base/overloaded.h"
#include "model/artefact.h"

namespace graft::model {

namespace {

/// Enough for layers to show what they do.
constexpr std::int64_t kBlankTokens = 16;

[[noreturn]] void refuse_batch(const char* expected, const at::Tensor& batch) {
  throw Error(ErrorCode::kMismatch, std::string("expected a batch ") + expected + ", found " +
                                        (batch.defined() ? c10::str(batch.sizes(), " of ", batch.scalar_type())
                                                         : std::string("an undefined tensor")));
}

void check(const Preprocessing&, const at::Tensor& batch) {
  if (!batch.defined() || batch.dim() != 4 || batch.size(1) != 3 || batch.size(0) == 0 ||
      (batch.scalar_type() != at::kFloat && batch.scalar_type() != at::kByte))
    refuse_batch("[N, 3, H, W] of float32 or uint8", batch);
}

void check(const Tokenizer& tokenizer, const at::Tensor& batch) {
  if (!batch.defined() || batch.dim() != 2 || batch.numel() == 0 || batch.scalar_type() != at::kLong)
    refuse_batch("of tokens [N, T] of int64", batch);
  const auto pieces = std::ssize(tokenizer.vocabulary());
  if (!batch.is_cpu()) return;  // not worth waiting for
  const auto lowest = batch.min().item<std::int64_t>(), highest = batch.max().item<std::int64_t>();
  if (lowest < 0 || highest >= pieces)
    throw Error(ErrorCode::kMismatch, "expected tokens from 0 to " + std::to_string(pieces - 1) + ", found " +
                                          std::to_string(lowest < 0 ? lowest : highest));
}

}  // namespace

at::Tensor blank_input(const Input& input) {
  return std::visit(
      base::Overloaded{[](const Preprocessing& p) {
                         return at::zeros({1, 3, p.crop_height_px, p.crop_width_px}, at::kFloat)
                             .contiguous(at::MemoryFormat::ChannelsLast);
                       },
                       [](const Tokenizer& t) {
                         const auto ends = at::tensor(t.encode(""), at::kLong);
                         const auto inner = std::min(kBlankTokens, t.options().max_length) - ends.numel();
                         return at::cat({ends.narrow(0, 0, 1), ends.narrow(0, 1, 1).expand({inner + 1})}).unsqueeze(0);
                       }},
      input);
}

void check_batch(const Input& input, const at::Tensor& batch) {
  std::visit([&](const auto& how) { check(how, batch); }, input);
}

std::string input_json(const Input& input) {
  return std::visit(base::Overloaded{[](const Preprocessing& p) { return preprocessing_json(p); },
                                     [](const Tokenizer& t) { return tokenizer_json(t); }},
                    input);
}

const Preprocessing& preprocessing_of(const Input& input) {
  if (const auto* preprocessing = std::get_if<Preprocessing>(&input)) return *preprocessing;
  throw Error(ErrorCode::kMismatch, "this network takes texts: expected those, found a use of pictures");
}

const Tokenizer& tokenizer_of(const Input& input) {
  if (const auto* tokenizer = std::get_if<Tokenizer>(&input)) return *tokenizer;
  throw Error(ErrorCode::kMismatch, "this network takes pictures: expected those, found a use of texts");
}

}  // namespace graft::model
