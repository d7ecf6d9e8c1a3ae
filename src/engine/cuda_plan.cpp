#include "engine/cuda_plan.h"

#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include "engine/cuda_graphs.h"
#include "engine/describe.h"
#include "engine/execute.h"
#include "engine/freeze.h"
#include "engine/fusion.h"

namespace graft::engine {

namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

/// cuDNN's operators for a fused convolution, where it has them: with ReLU, and an addition before that. In groups it
/// has no fused kernels for every type.
Value* insert_convolution(Graph& graph, const FusedOperands& c, Value* weight, Value* bias) {
  const auto& g = c.geometry;
  const auto value = [&](const c10::IValue& constant) { return graph.insertConstant(constant); };
  Value *stride = value(g.stride), *padding = value(g.padding), *dilation = value(g.dilation),
        *groups = value(g.groups);
  const auto insert = [&](const char* name, std::vector<Value*> inputs) {
    Node* node = graph.insertNode(graph.create(c10::Symbol::fromQualString(name), inputs));
    node->output()->setType(c10::TensorType::get());
    return node->output();
  };
  if (g.with_relu && g.groups == 1 && c.other)
    return insert("aten::cudnn_convolution_add_relu",
                  {c.input, weight, c.other, value(1), bias, stride, padding, dilation, groups});
  if (g.with_relu && g.groups == 1)
    return insert("aten::cudnn_convolution_relu", {c.input, weight, bias, stride, padding, dilation, groups});
  Value* result = insert("aten::conv2d", {c.input, weight, bias, stride, padding, dilation, groups});
  if (c.other) result = insert("aten::add", {result, c.other, value(1)});
  return g.with_relu ? insert("aten::relu_", {result}) : result;
}

/// Fused nodes become cuDNN's, their weights constants of `type`, channels last.
void lower(Graph& graph, at::ScalarType type) {
  for (Node* node : fused_nodes(graph)) {
    const auto c = operands_of(node);
    const torch::jit::WithInsertPoint at(node);
    Value* weight = graph.insertConstant(weight_of(c).to(type).contiguous(at::MemoryFormat::ChannelsLast));
    node->output()->replaceAllUsesWith(insert_convolution(graph, c, weight, c.bias));
    node->destroy();
  }
  torch::jit::EliminateDeadCode(graph.block());
  lower_constants(graph, type);
}

class CudaPlan : public Plan {
 public:
  CudaPlan(const std::shared_ptr<Graph>& graph, at::ScalarType type)
      : code_(graph, "plan"), graphs_(type, [this](const at::Tensor& input) { return call(input); }) {}

  at::Tensor run(const at::Tensor& input) const override {
    const at::NoGradGuard no_grad;
    return graphs_.run(input);
  }

 private:
  at::Tensor call(const at::Tensor& input) const { return one_tensor(execute(code_, {input})).to(at::kFloat); }

  torch::jit::Code code_;
  CudaGraphs graphs_;
};

}  // namespace

std::unique_ptr<Plan> compile_for_cuda(const graph::Network& network, Precision precision, PlanSummary& summary) {
  const at::NoGradGuard no_grad;
  if (precision == Precision::kInt8) {
    summary.obstacle = "int8 runs on the CPU";
    return nullptr;
  }
  const auto graph = fused_graph(network, {}, summary).graph;
  if (!graph) {
    summary.obstacle = summary.convolutions == 0
                           ? "it has no convolution, or looks something up, or writes something, when it runs"
                           : "it has no convolution over two dimensions with known weights";
    return nullptr;
  }
  auto type = at::kFloat;
  if (precision == Precision::kBFloat16) type = at::kBFloat16;
  if (precision == Precision::kFloat16) type = at::kHalf;
  lower(*graph, type);
  describe(*graph, network, summary);
  graph->lint();
  return std::make_unique<CudaPlan>(graph, type);
}

}  // namespace graft::engine
