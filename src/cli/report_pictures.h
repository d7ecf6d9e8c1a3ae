/// Pictures for reports.
#pragma once

#include <cstdint>
#include <optional>

#include "cli/common.h"

namespace graft::cli {

/// Some of the data's pictures as training sees them; nothing if it is not augmented or none can be read.
std::optional<ReportPicture> augmentation_sheet(const Dataset& data, const Preprocessing& preprocessing,
                                                std::uint64_t seed);

/// The picture, and what of it speaks for the model's answer. Without a heat map where the network has no feature maps.
void illustrate(ReportExample& example, const Model& model, const Image& picture);

}  // namespace graft::cli
