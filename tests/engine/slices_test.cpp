#include "engine/slices.h"

#include <string>

#include <gtest/gtest.h>
#include <torch/csrc/jit/ir/irparser.h>

namespace graft::engine {
namespace {

/// Names of the operators in both parts of a graph from x [N, C, H, W] and w, with this body, as "first | second".
std::string split(const std::string& body) {
  auto graph = std::make_shared<torch::jit::Graph>();
  torch::jit::parseIR(
      "graph(%x : Tensor, %w : Tensor):\n  %none : NoneType = prim::Constant()\n"
      "  %0 : int = prim::Constant[value=0]()\n  %1 : int = prim::Constant[value=1]()\n"
      "  %no : bool = prim::Constant[value=0]()\n  %yes : bool = prim::Constant[value=1]()\n"
      "  %dims : int[] = prim::Constant[value=[2, 3]]()\n  %rows : int[] = prim::Constant[value=[0]]()\n" +
          body,
      graph.get());
  const auto parts = split_by_picture(graph);
  if (!parts.by_picture) return "no";
  const auto names = [](torch::jit::Graph& part) {
    part.lint();
    EXPECT_EQ(part.inputs().size(), 2u);
    EXPECT_EQ(part.outputs().size(), 1u);
    std::string text;
    for (const auto* node : part.nodes())
      if (node->kind() != c10::prim::Constant) text += std::string(node->kind().toUnqualString()) + ' ';
    return text;
  };
  return names(*parts.by_picture) + '|' + (parts.rest ? ' ' + names(*parts.rest) : "");
}

TEST(Slices, EndWherePicturesNoLongerAreFeatureMaps) {
  EXPECT_EQ(split("  %a : Tensor = aten::relu(%x)\n  %b : Tensor = aten::sigmoid(%a)\n  return (%b)"),
            "relu sigmoid |");
  EXPECT_EQ(
      split("  %a : Tensor = aten::relu(%x)\n  %m : Tensor = aten::mean(%a, %dims, %yes, %none)\n"
            "  %f : Tensor = aten::flatten(%m, %1, %1)\n  %b : Tensor = aten::linear(%f, %w, %none)\n  return (%b)"),
      "relu mean | flatten linear ");
  EXPECT_EQ(split("  %a : Tensor = aten::relu(%x)\n  %m : Tensor = aten::mean(%a, %dims, %no, %none)\n  return (%m)"),
            "relu | mean ");
}

TEST(Slices, PassOneTensorOn) {
  EXPECT_EQ(split("  %a : Tensor = aten::relu(%x)\n  %b : Tensor = aten::sigmoid(%a)\n  %c : Tensor = aten::silu(%b)\n"
                  "  %d : Tensor = aten::linear(%c, %a, %none)\n  return (%d)"),
            "relu | sigmoid silu linear ");
  EXPECT_EQ(split("  %a : Tensor = aten::relu(%x)\n  %d : Tensor = aten::linear(%a, %x, %none)\n  return (%d)"), "no");
  EXPECT_EQ(split("  %a : Tensor = aten::relu(%x)\n  %b : Tensor = aten::sigmoid(%x)\n  %l : Tensor[] = "
                  "prim::ListConstruct(%a, %b)\n  %c : Tensor = aten::cat(%l, %1)\n  return (%c)"),
            "relu sigmoid ListConstruct cat |");
  EXPECT_EQ(split("  %a : Tensor = aten::relu(%x)\n  %l : Tensor[] = prim::ListConstruct(%a, %a)\n"
                  "  %c : Tensor = aten::cat(%l, %0)\n  return (%c)"),
            "relu | ListConstruct cat ");
}

TEST(Slices, KeepPicturesApart) {
  for (const auto& mixes : {"aten::mean(%a, %rows, %yes, %none)", "aten::softmax(%a, %0, %none)", "aten::t(%a)",
                            "aten::batch_norm(%a, %none, %none, %none, %none, %yes, %none, %none, %no)"})
    EXPECT_TRUE(split("  %a : Tensor = aten::relu(%x)\n  %m : Tensor = " + std::string(mixes) + "\n  return (%m)")
                    .starts_with("relu | "))
        << mixes;
}

}  // namespace
}  // namespace graft::engine
