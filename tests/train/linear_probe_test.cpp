#include "train/linear_probe.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "support/golden.h"

namespace graft::train {
namespace {

using graft::testing::close;

at::Tensor drawn(at::IntArrayRef shape, std::uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator, at::kFloat);
}

/// The weighted normal equations, solved anew without each example in turn; centre, scale and weights are those of all
/// examples.
at::Tensor left_out_one_by_one(const at::Tensor& features, const at::Tensor& labels, std::int64_t classes) {
  auto x = features.to(at::kDouble);
  x = x - x.mean(0, true);
  x = x / x.square().sum(1).mean().sqrt();
  x = at::cat({x, at::ones({x.size(0), 1}, at::kDouble)}, 1);
  const auto y = at::one_hot(labels, classes).to(at::kDouble);
  const auto weights = at::mv(y, static_cast<double>(x.size(0)) / (static_cast<double>(classes) * y.sum(0)));
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    const auto others = at::arange(x.size(0)).ne(i).nonzero().squeeze(1);
    const auto a = x.index_select(0, others), b = y.index_select(0, others);
    const auto left = a.t() * weights.index_select(0, others);
    const auto solved = at::linalg_solve(at::mm(left, a) + 2 * at::eye(a.size(1), at::kDouble), at::mm(left, b));
    rows.push_back(at::mv(solved.t(), x[i]));
  }
  return at::stack(rows);
}

TEST(LinearProbe, HeldOutAnswersEqualThoseOfProbesThatNeverSawTheExample) {
  for (const std::int64_t width : {5, 60}) {  // fewer and more than examples
    const auto features = drawn({24, width}, 1);
    for (const auto& labels : {at::arange(24).remainder(3), at::arange(24).remainder(7).clamp_max(2)})
      EXPECT_TRUE(close(LinearProbe(features, labels, 3).held_out(), left_out_one_by_one(features, labels, 3), 1e-9));
  }
}

TEST(LinearProbe, TellsClassesApartThatFeaturesTellApart) {
  const auto labels = at::arange(60).remainder(2);
  const auto features = drawn({60, 40}, 2) + labels.unsqueeze(1) * 2;
  const LinearProbe probe(features, labels, 2);
  EXPECT_EQ(probe.held_out().argmax(1).eq(labels).sum().item<std::int64_t>(), 60);
  const auto others = drawn({60, 40}, 3) + labels.unsqueeze(1) * 2;
  EXPECT_EQ(probe.answers(others).argmax(1).eq(labels).sum().item<std::int64_t>(), 60);
}

TEST(LinearProbe, HearsAClassOfFewExamples) {
  const auto few = at::arange(60).lt(6).to(at::kLong), many = at::arange(60).remainder(2);
  const auto features = [](const at::Tensor& labels, std::uint64_t seed) {
    return drawn({60, 40}, seed) + labels.unsqueeze(1) * 0.8;
  };
  const auto answers = LinearProbe(features(few, 2), few, 2).answers(features(many, 3)).argmax(1);
  EXPECT_GE(answers.eq(1).logical_and(many.eq(1)).sum().item<std::int64_t>(), 20);  // of 30
}

TEST(LinearProbe, AveragesMapsAndProjectsWhatIsVeryWide) {
  const auto labels = at::arange(40).remainder(2);
  const auto shifts = labels.view({40, 1, 1, 1}) * 2;
  EXPECT_EQ(LinearProbe(drawn({40, 8, 3, 3}, 4) + shifts, labels, 2).held_out().sizes(),
            (std::vector<std::int64_t>{40, 2}));
  const auto wide = drawn({40, 6000}, 5) + labels.unsqueeze(1) * 0.5;
  EXPECT_GE(LinearProbe(wide, labels, 2).held_out().argmax(1).eq(labels).sum().item<std::int64_t>(), 38);
}

}  // namespace
}  // namespace graft::train
