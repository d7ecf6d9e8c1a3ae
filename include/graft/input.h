/// What goes into a network: the one thing that models for pictures and models for texts do not share.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <variant>

#include <graft/preprocess.h>
#include <graft/tokenizer.h>

namespace graft {

/// How an example becomes a row of the network's input: a picture by a Preprocessing, batches [N, 3, H, W] of float32;
/// a text by a Tokenizer, batches of tokens [N, T] of int64, each as long as its longest text.
using Input = std::variant<Preprocessing, Tokenizer>;

/// Whether it is texts that the network takes.
inline bool takes_text(const Input& input) { return std::holds_alternative<Tokenizer>(input); }

}  // namespace graft
