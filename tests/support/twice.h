/// A communicator for tests of one process: another one that has, and does, always the same.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/communicator.h>

namespace graft::testing {

class Twice : public Communicator {
 public:
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 2; }
  void sum(const std::vector<at::Tensor>& tensors) override {
    const at::NoGradGuard no_grad;
    for (const auto& tensor : tensors) tensor.mul_(2);
  }
  void broadcast(const std::vector<at::Tensor>&) override {}
  std::string broadcast(const std::string& text) override { return text; }
  std::vector<std::string> all_gather(const std::string& text) override { return {text, text}; }
  [[noreturn]] void abort(int) override { std::abort(); }
};

}  // namespace graft::testing
