/// An example that travels in the file with the logits it gave when the file was written, so that a network that
/// answers otherwise is noticed where it is loaded.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/image.h>
#include <graft/input.h>

namespace graft::model {

struct Golden {
  std::variant<Image, std::string> example;  ///< a picture, or a text
  std::vector<float> logits;
  double tolerance = 0;  ///< largest difference allowed, as a fraction of the largest logit, or of 1 if that is smaller
};

/// A picture of 64 x 64, with fields, edges and fine texture in all three channels; or a text with letters of several
/// scripts, accents, digits and marks.
std::variant<Image, std::string> golden_example(const Input& input);

/// A batch of one: the whole way of the example, resize and normalisation, or tokenisation, included. Throws Error
/// kMismatch for a picture where texts are taken, and the other way round.
at::Tensor golden_input(const std::variant<Image, std::string>& example, const Input& input);

/// Throws Error kMismatch naming the largest difference if `logits` [1, classes] are not those of `golden`.
void check_golden(const Golden& golden, const at::Tensor& logits);

}  // namespace graft::model
