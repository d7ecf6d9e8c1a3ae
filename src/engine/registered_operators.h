/// Operators of ours in LibTorch's interpreter.
#pragma once

#include <initializer_list>
#include <utility>
#include <vector>

#include <torch/csrc/jit/runtime/operator.h>

namespace graft::engine {

/// They are known from its construction to its destruction: make it a static, which goes when the library does.
class RegisteredOperators {
 public:
  using Function = void (*)(torch::jit::Stack&);
  RegisteredOperators(std::initializer_list<std::pair<const char*, Function>> operators) {
    for (const auto& [schema, function] : operators) {
      torch::jit::Operator made(schema, function, c10::AliasAnalysisKind::FROM_SCHEMA);
      schemas_.push_back(made.schema());
      torch::jit::registerOperator(std::move(made));
    }
  }
  ~RegisteredOperators() {
    for (const auto& schema : schemas_) torch::jit::deregisterOperator(schema);
  }
  RegisteredOperators(const RegisteredOperators&) = delete;
  RegisteredOperators& operator=(const RegisteredOperators&) = delete;

 private:
  std::vector<c10::FunctionSchema> schemas_;
};

}  // namespace graft::engine
