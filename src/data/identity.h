/// Settings in words, for the keys of what was computed with them: equal text, equal effect.
#pragma once

#include <string>

#include <graft/augment.h>
#include <graft/image.h>

namespace graft::data {

std::string to_text(const DecodeOptions& options);
std::string to_text(const Augment& augment);

}  // namespace graft::data
