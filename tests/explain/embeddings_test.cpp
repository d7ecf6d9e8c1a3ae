#include <graft/embeddings.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/host_memory.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/measured.h"
#include "support/sanitized.h"

namespace graft {
namespace {

using graft::testing::golden;
using graft::testing::golden_tensor;
using graft::testing::measured;
using graft::testing::slurp;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

at::Tensor features() { return golden_tensor("explain/features.f32", {200, 12}); }

const nlohmann::json& reference() {
  static const auto json = nlohmann::json::parse(slurp(golden("explain/embeddings.json")));
  return json;
}

TEST(Pca, EqualsScikitLearn) {
  const auto found = pca(features());
  ASSERT_EQ(found.sizes(), (std::vector<std::int64_t>{200, 2}));
  double largest = 0;
  for (std::int64_t i = 0; i < 200; ++i)
    for (std::int64_t d = 0; d < 2; ++d)
      largest = std::max(
          largest,
          std::abs(found[i][d].item<double>() -
                   reference()["pca"][static_cast<std::size_t>(i)][static_cast<std::size_t>(d)].get<double>()));
  EXPECT_TRUE(measured("principal components beside scikit-learn", largest, 1e-5));
}

TEST(Pca, RefusesWhatHasNoPlane) {
  EXPECT_GRAFT_ERROR(pca(at::ones({1, 5})), kMismatch, "N >= 2");
  EXPECT_GRAFT_ERROR(pca(at::ones({5, 1})), kMismatch, "[5, 1]");
  EXPECT_GRAFT_ERROR(pca(at::ones({5, 5}, at::kDouble)), kMismatch, "Double");
  EXPECT_GRAFT_ERROR(pca(at::full({5, 5}, kNaN)), kNumeric, "finite");
  EXPECT_EQ(pca(at::ones({5, 5})).abs().max().item<float>(), 0);  // all in one place
}

/// The others by distance, for each row.
std::vector<std::vector<std::int64_t>> neighbours(const at::Tensor& rows) {
  std::vector<std::vector<std::int64_t>> all;
  const auto points = rows.to(at::kDouble);
  for (std::int64_t i = 0; i < points.size(0); ++i) {
    auto distance = (points - points[i]).square().sum(1);
    distance[i] = -1;
    const auto order = distance.argsort().narrow(0, 1, points.size(0) - 1).contiguous();
    all.emplace_back(order.data_ptr<std::int64_t>(), order.data_ptr<std::int64_t>() + order.numel());
  }
  return all;
}

/// Venna and Kaski 2001: how few of the k neighbours in the plane are strangers among the features.
double trustworthiness(const at::Tensor& rows, const at::Tensor& plane, std::int64_t k = 5) {
  const auto before = neighbours(rows), after = neighbours(plane);
  const auto n = static_cast<double>(before.size()), nearest = static_cast<double>(k);
  double strangers = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      const auto rank =
          std::find(before[i].begin(), before[i].end(), after[i][static_cast<std::size_t>(j)]) - before[i].begin() + 1;
      strangers += std::max(0.0, static_cast<double>(rank) - nearest);
    }
  }
  return 1 - 2 * strangers / (n * nearest * (2 * n - 3 * nearest - 1));
}

/// The divergence from its definition, with sums over all pairs.
double divergence(const at::Tensor& rows, const at::Tensor& plane, double perplexity) {
  const auto n = rows.size(0);
  const auto squares = [](const at::Tensor& points) {
    const auto p = points.to(at::kDouble);
    return (p.unsqueeze(0) - p.unsqueeze(1)).square().sum(2);
  };
  const auto distances = squares(rows);
  auto p = at::zeros({n, n}, at::kDouble);
  for (std::int64_t i = 0; i < n; ++i) {
    double low = 0, high = 1e3;
    at::Tensor row;
    for (int step = 0; step < 200; ++step) {
      const double beta = (low + high) / 2;
      auto shifted = -distances[i] * beta;
      shifted[i] = -std::numeric_limits<double>::infinity();
      row = shifted.softmax(0);
      const double entropy = -(row * (row + 1e-300).log()).sum().item<double>();
      (entropy > std::log(perplexity) ? low : high) = beta;
    }
    p[i] = row;
  }
  p = (p + p.t()) / (2 * n);
  auto q = 1 / (1 + squares(plane));
  q.fill_diagonal_(0);
  q = q / q.sum();
  return at::where(p > 0, p * ((p + 1e-300) / (q + 1e-300)).log(), 0).sum().item<double>();
}

TEST(Tsne, IsAsGoodAsScikitLearns) {
  const auto found = tsne(features());
  const double expected = reference()["tsne"]["kl_divergence"];
  EXPECT_TRUE(measured("t-SNE's divergence beside scikit-learn's, relative",
                       std::abs(found.kl_divergence / expected - 1), 0.02));
  EXPECT_TRUE(measured("t-SNE's divergence beside its definition",
                       std::abs(found.kl_divergence - divergence(features(), found.coordinates, 30)), 1e-3));
  const double trust = trustworthiness(features(), found.coordinates);
  EXPECT_TRUE(measured("t-SNE's trustworthiness beside scikit-learn's",
                       std::abs(trust - reference()["tsne"]["trustworthiness"].get<double>()), 0.01));
}

TEST(Tsne, RowsInSeveralBlocksAreAllCompared) {
  const auto rows = at::arange(600 * 8, at::kFloat).mul(0.7).sin().view({600, 8});
  const auto found = tsne(rows, {.iterations = 250});
  EXPECT_TRUE(measured("t-SNE's divergence beside its definition, 600 rows",
                       std::abs(found.kl_divergence - divergence(rows, found.coordinates, 30)), 1e-3));
}

TEST(Tsne, MemoryIsFourBytesForEachPair) {
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer keeps memory of its own";
  const std::int64_t n = 2'000;
  const auto rows = at::arange(n * 8, at::kFloat).mul(0.7).sin().view({n, 8});
  tsne(rows.narrow(0, 0, 300), {.iterations = 250});  // what is set up once
  const base::HostMemoryPeak peak;
  tsne(rows, {.iterations = 250});
  EXPECT_TRUE(measured("t-SNE's memory, bytes for each pair of rows",
                       static_cast<double>(peak.growth()) / static_cast<double>(n * n), 8));
}

TEST(Tsne, IsTheSameEveryTimeAndFollowsItsSeed) {
  const auto rows = features().narrow(0, 0, 60);
  EXPECT_TRUE(at::equal(tsne(rows).coordinates, tsne(rows).coordinates));
  const auto one = tsne(rows, {.seed = 1}), again = tsne(rows, {.seed = 1}), other = tsne(rows, {.seed = 2});
  EXPECT_TRUE(at::equal(one.coordinates, again.coordinates));
  EXPECT_FALSE(at::equal(one.coordinates, other.coordinates));
  EXPECT_NEAR(one.kl_divergence, other.kl_divergence, 0.1 * one.kl_divergence);
}

TEST(Tsne, FewRowsAndEqualOnesAreFine) {
  for (const std::int64_t n : {4, 5, 17})
    EXPECT_TRUE(tsne(features().narrow(0, 0, n)).coordinates.isfinite().all().item<bool>());
  const auto doubled = at::cat({features().narrow(0, 0, 20), features().narrow(0, 0, 20)});
  EXPECT_TRUE(tsne(doubled).coordinates.isfinite().all().item<bool>());
  EXPECT_TRUE(tsne(at::ones({10, 3})).coordinates.isfinite().all().item<bool>());
  EXPECT_TRUE(tsne(features().narrow(1, 0, 1)).coordinates.isfinite().all().item<bool>());
}

TEST(Tsne, RefusesOptionsOutOfRange) {
  EXPECT_GRAFT_ERROR(tsne(features().narrow(0, 0, 3)), kMismatch, "N >= 4");
  EXPECT_GRAFT_ERROR(tsne(features(), {.perplexity = 200}), kConfig, "less than the 200 rows");
  EXPECT_GRAFT_ERROR(tsne(features(), {.perplexity = 0}), kConfig, "perplexity");
  EXPECT_GRAFT_ERROR(tsne(features(), {.iterations = 100}), kConfig, "250 or more");
  EXPECT_GRAFT_ERROR(tsne(features(), {.early_exaggeration = -1}), kConfig, "early_exaggeration");
  EXPECT_GRAFT_ERROR(tsne(features(), {.learning_rate = -1}), kConfig, "learning_rate");
  EXPECT_GRAFT_ERROR(tsne(at::zeros({20'001, 1})), kLimit, "20000");
}

TEST(Nearest, EqualsNumpy) {
  double largest = 0;
  for (std::int64_t row = 0; row < 3; ++row) {
    const auto& expected = reference()["nearest"][static_cast<std::size_t>(row)];
    const auto found = nearest(features()[row], features(), 7);
    ASSERT_EQ(found.size(), 7u);
    for (std::size_t i = 0; i < 7; ++i) {
      EXPECT_EQ(found[i].index, expected["rows"][i].get<std::int64_t>());
      largest = std::max(
          largest, std::abs(static_cast<double>(found[i].similarity) - expected["similarities"][i].get<double>()));
    }
  }
  EXPECT_TRUE(measured("cosine similarity beside numpy", largest, 1e-6));
}

TEST(Nearest, RowsOfAnyLengthAreCompared) {
  for (const float length : {1e-25F, 1e20F, 3e38F}) {
    const auto found = nearest(at::tensor({length, 0.F}), at::tensor({0.F, length, length, 0.F}).view({2, 2}), 2);
    EXPECT_EQ(found[0].index, 1);
    EXPECT_FLOAT_EQ(found[0].similarity, 1) << length;
    EXPECT_FLOAT_EQ(found[1].similarity, 0) << length;
  }
}

TEST(Nearest, EqualsKeepTheirOrderAndZerosAreLikeNothing) {
  const auto index = at::tensor({0.f, 0.f, 2.f, 0.f, -1.f, 0.f, 1.f, 0.f}).view({4, 2});
  const auto found = nearest(at::tensor({3.f, 0.f}), index, 10);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].index, 1);
  EXPECT_EQ(found[1].index, 3);
  EXPECT_EQ(found[2].similarity, 0);
  EXPECT_EQ(found[3].similarity, -1);
  EXPECT_GRAFT_ERROR(nearest(at::ones({3}), index, 1), kMismatch, "[2]");
  EXPECT_GRAFT_ERROR(nearest(at::ones({2}), index, 0), kConfig, "1 or more");
  EXPECT_GRAFT_ERROR(nearest(at::full({2}, kNaN), index, 1), kNumeric, "finite");
}

// --- Maps

Image plain(int width, int height, std::array<std::uint8_t, 3> colour) {
  std::vector<std::uint8_t> rgb;
  for (int i = 0; i < width * height; ++i) rgb.insert(rgb.end(), colour.begin(), colour.end());
  return Image(width, height, std::move(rgb));
}

std::array<int, 3> pixel(const Image& image, int x, int y) {
  const auto* at = image.rgb().data() + (static_cast<std::ptrdiff_t>(y) * image.width_px() + x) * 3;
  return {at[0], at[1], at[2]};
}

const std::vector<MapPicture>& three() {
  static const std::vector<MapPicture> pictures{{plain(20, 10, {255, 0, 0}), "a&b.png", "x"},
                                                {plain(10, 30, {0, 255, 0}), "c\xff<.png", "y"},
                                                {plain(9, 9, {0, 0, 255}), "d\x01.png", "x"}};
  return pictures;
}

TEST(Map, PicturesAreAtTheirPlaces) {
  const auto places = at::tensor({-1.f, -1.f, 1.f, 1.f, 0.f, 0.f}).view({3, 2});
  const auto map = draw_map(places, three(), {.width_px = 300, .height_px = 110, .thumbnail_px = 10});
  EXPECT_EQ(map.width_px(), 300);
  EXPECT_EQ(map.height_px(), 110);
  // Both directions to one scale, 94 pixels: middles from 103 to 197 across.
  EXPECT_EQ(pixel(map, 103, 102), (std::array{255, 0, 0}));  // lower left
  EXPECT_EQ(pixel(map, 197, 8), (std::array{0, 255, 0}));    // upper right
  EXPECT_EQ(pixel(map, 150, 55), (std::array{0, 0, 255}));
  EXPECT_EQ(pixel(map, 96, 102), pixel(map, 142, 55));  // frames: the first and the third are of one group
  EXPECT_NE(pixel(map, 96, 102), pixel(map, 190, 8));
  EXPECT_EQ(pixel(map, 20, 20), (std::array{255, 255, 255}));
}

TEST(Map, TheSvgHoldsPicturesNamesAndLegend) {
  const auto places = at::tensor({-1.f, -1.f, 1.f, 1.f, 0.f, 0.f}).view({3, 2});
  const auto svg = draw_map_svg(places, three(), {.width_px = 300, .height_px = 110, .thumbnail_px = 10});
  for (const char* part :
       {"<title>a&amp;b.png (x)</title>", "<title>c\xEF\xBF\xBD&lt;.png (y)</title>",
        "<title>d\xEF\xBF\xBD.png (x)</title>", ">x</text>", ">y</text>", "href=\"data:image/jpeg;base64,/9j/"})
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  EXPECT_EQ(svg.find("http://", svg.find('>')), std::string::npos);  // nothing is fetched
}

TEST(Map, OnePlaceIsTheMiddle) {
  const auto map = draw_map(at::full({3, 2}, 7.f), three(), {.width_px = 100, .height_px = 100, .thumbnail_px = 10});
  EXPECT_EQ(pixel(map, 50, 50), (std::array{0, 0, 255}));  // the last lies on top
}

TEST(Map, RefusesWhatDoesNotFit) {
  const auto places = at::zeros({3, 2});
  EXPECT_GRAFT_ERROR(draw_map(at::zeros({2, 2}), three()), kMismatch, "[2, 2] for 3");
  EXPECT_GRAFT_ERROR(draw_map_svg(at::zeros({3, 3}), three()), kMismatch, "[N, 2]");
  EXPECT_GRAFT_ERROR(draw_map(at::full({3, 2}, kNaN), three()), kNumeric, "finite");
  EXPECT_GRAFT_ERROR(draw_map(places, three(), {.thumbnail_px = 2}), kConfig, "thumbnail_px");
  EXPECT_GRAFT_ERROR(draw_map(places, three(), {.width_px = 30}), kConfig, "width_px");
  EXPECT_GRAFT_ERROR(draw_map(places, std::vector<MapPicture>(3)), kConfig, "found none");
}

}  // namespace
}  // namespace graft
