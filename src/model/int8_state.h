/// int8 of a model whose weights change for a while and come back.
#pragma once

#include <optional>

#include <graft/model.h>

#include "model/calibration.h"

namespace graft::model {

/// What int8 goes by now; nothing if the model is not calibrated, or its weights have changed since.
std::optional<Int8> int8_of(const Model& model);

/// The model's weights are again those that `int8`, int8_of() it before, was measured with, whatever was written into
/// them meanwhile.
void set_int8(Model& model, Int8 int8);

}  // namespace graft::model
