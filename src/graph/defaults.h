/// Inputs that need not be given.
#pragma once

#include <torch/csrc/jit/api/module.h>

namespace graft::graph {

/// Gives forward's inputs behind the first one their default values, for good. Where one has none, nothing changes.
void take_defaults(const torch::jit::Module& module);

}  // namespace graft::graph
