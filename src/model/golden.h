/// A picture that travels in the file with the logits it gave when the file was written, so that a network that answers
/// otherwise is noticed where it is loaded.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/image.h>
#include <graft/preprocess.h>

namespace graft::model {

struct Golden {
  Image picture;
  std::vector<float> logits;
  double tolerance = 0;  ///< largest difference allowed, as a fraction of the largest logit, or of 1 if that is smaller
};

/// Fields, edges and fine texture in all three channels, 64 x 64.
Image golden_picture();

/// [1, 3, H, W]: the whole way of a picture, resize and normalisation included.
at::Tensor golden_input(const Image& picture, const Preprocessing& preprocessing);

/// Throws Error kMismatch naming the largest difference if `logits` [1, classes] are not those of `golden`.
void check_golden(const Golden& golden, const at::Tensor& logits);

}  // namespace graft::model
