/// What the rest of the model has to know of its input, whether that is pictures or texts.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include <graft/input.h>

namespace graft::model {

/// A batch of one that says nothing, for looking at shapes: [1, 3, H, W], channels last, or the tokens of a short text.
at::Tensor blank_input(const Input& input);

/// Throws Error kMismatch unless it is a batch that the network takes, of one example at least.
void check_batch(const Input& input, const at::Tensor& batch);

/// All that it depends on, on one line: equal text, equal batches.
std::string input_json(const Input& input);

/// Throws Error kMismatch if it is the other one.
const Preprocessing& preprocessing_of(const Input& input);
const Tokenizer& tokenizer_of(const Input& input);

}  // namespace graft::model
