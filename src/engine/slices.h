/// Which part of a graph can run on some pictures of a batch at a time.
#pragma once

#include <memory>

#include <torch/csrc/jit/ir/ir.h>

namespace graft::engine {

/// A graph in two, to be run one after the other.
struct Split {
  /// In every operator each picture's result depends on that picture alone. Null where there is no such part.
  std::shared_ptr<torch::jit::Graph> by_picture;
  /// What is left, with the other's output in the place of the first input; null where nothing is.
  std::shared_ptr<torch::jit::Graph> rest;
};

/// Both have all of the graph's inputs. The first part ends where pictures no longer are [N, C, H, W]: large linear
/// layers' weights are better read once for a whole batch.
Split split_by_picture(const std::shared_ptr<torch::jit::Graph>& graph);

}  // namespace graft::engine
