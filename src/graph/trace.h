/// Modules written in C++ as TorchScript: their tensors mirrored, their operations recorded.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "graph/network.h"

namespace graft::graph {

/// A module and those below it. The tensors are shared with the network that is made of it, names are kept.
struct ModuleTree {
  struct Child;
  std::string type;  ///< the class's name
  NamedTensors parameters;
  NamedTensors buffers;
  std::vector<Child> children;
};

struct ModuleTree::Child {
  std::string name;
  ModuleTree tree;
};

/// A builder whose module has these tensors and sub-modules, and no method yet.
NetworkBuilder mirror(const ModuleTree& tree, const Network& beside);

/// What is traced. Both functions may throw; trace() leaves buffers as it found them.
struct Traceable {
  std::function<at::Tensor(const at::Tensor&)> forward;
  /// Training mode for the whole module but those at `exceptions` (dotted paths, "" the module itself; what is below
  /// one of them is not included).
  std::function<void(const std::vector<std::string>& exceptions)> train;
};

/// forward of `tree` as it runs on `example`, for any number of examples (batch sizes) if the operations are the same.
///
/// A trace fixes the mode; here the recordings of training mode with and without each sub-module's flag are compared:
/// constants that follow a flag read it again (dropout, batch norm), statements that only training has (counting
/// batches) are made conditional on it. Where the operations themselves differ, the network holds both recordings and
/// chooses by the flag of the module that decides.
/// Throws Error kMismatch for tensors that are used but not registered, and what forward throws.
Network trace(const ModuleTree& tree, const Traceable& module, const at::Tensor& example, const Network& beside);

}  // namespace graft::graph
