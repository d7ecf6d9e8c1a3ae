// van der Maaten and Hinton 2008, "Visualizing Data using t-SNE", JMLR 9. Schedule, step sizes and when to stop are
// those of scikit-learn's TSNE(method="exact").

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/cancellation.h>
#include <graft/embeddings.h>
#include <graft/error.h>

#include "base/check.h"
#include "base/cpu_clones.h"
#include "base/parallel.h"
#include "base/translate.h"
#include "base/uniform.h"
#include "explain/features.h"

namespace graft {

namespace {

constexpr std::int64_t kMostRows = 20'000;
constexpr std::int64_t kExaggerated = 250;  ///< iterations
constexpr std::int64_t kCheckEvery = 50;
constexpr std::int64_t kLanes = 16, kBlock = 64;
constexpr std::uint64_t kStream = 0x74736e65;  ///< of the random start, apart from the library's other draws
constexpr double kSmallest = std::numeric_limits<double>::epsilon();

/// p_(j|i) for row i of the squared distances, by bisection of the precision (equation 1 and section 2); its own entry
/// is 0.
void conditional(const double* distances, double* p, std::int64_t n, std::int64_t i, double perplexity) {
  constexpr int kSteps = 100;
  constexpr double kTolerance = 1e-5;
  const double wanted = std::log(perplexity);
  // Distances count from the nearest one, so that not all similarities are 0 at once.
  double nearest = std::numeric_limits<double>::infinity();
  for (std::int64_t j = 0; j < n; ++j)
    if (j != i) nearest = std::min(nearest, distances[j]);
  double beta = 1, low = 0, high = std::numeric_limits<double>::infinity();
  for (int step = 0; step < kSteps; ++step) {
    double sum = 0, weighed = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      const double away = distances[j] - nearest;
      p[j] = j == i ? 0 : std::exp(-away * beta);
      sum += p[j];
      weighed += away * p[j];
    }
    for (std::int64_t j = 0; j < n; ++j) p[j] /= sum;
    const double entropy = std::log(sum) + beta * weighed / sum;
    if (std::abs(entropy - wanted) <= kTolerance) return;
    (entropy > wanted ? low : high) = beta;
    beta = std::isinf(high) ? beta * 2 : (low + high) / 2;
  }
}

/// p_ij (equation 2), [N, width] with columns of zeros behind.
at::Tensor similarities(const at::Tensor& features, double perplexity, std::int64_t width) {
  const auto n = features.size(0);
  const auto rows = features.to(at::kDouble);
  const auto squares = rows.square().sum(1, /*keepdim=*/true);
  auto joint = at::zeros({n, width}, at::kFloat);
  for (std::int64_t first = 0; first < n; first += kBlock) {  // all pairs in double precision would be much memory
    const auto count = std::min(kBlock, n - first);
    const auto block = rows.narrow(0, first, count);
    const auto distances = (squares.narrow(0, first, count) + squares.t() - 2 * block.matmul(rows.t())).clamp_min_(0);
    const auto p = at::empty_like(distances);
    base::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i)
        conditional(distances.const_data_ptr<double>() + i * n, p.mutable_data_ptr<double>() + i * n, n, first + i,
                    perplexity);
    });
    joint.narrow(0, first, count).narrow(1, 0, n).copy_(p);
  }
  float* const all = joint.mutable_data_ptr<float>();
  base::parallel_for(0, n, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < i; ++j)
        all[i * width + j] = all[j * width + i] = all[i * width + j] + all[j * width + i];
  });
  return joint.div_(joint.sum(1).sum(at::kDouble).clamp_min(kSmallest));
}

/// What one point sums up over all others.
struct Sums {
  std::array<double, 2> attraction{}, repulsion{};
  double closeness = 0;  ///< of 1 / (1 + distance^2), itself included
};

/// The points' places, one array for each dimension, filled up with points far away, which count for nothing.
using Places = std::array<std::vector<float>, 2>;

template <class Lanes>
double total(const Lanes& lanes) {
  double sum = 0;
  for (const float lane : lanes) sum += static_cast<double>(lane);
  return sum;
}

GRAFT_FOR_EACH_CPU
Sums sums_of(const float* p, const float* xs, const float* ys, std::int64_t width, std::int64_t i) {
  const float x = xs[i], y = ys[i];
  std::array<float, kLanes> near{}, pull_x{}, pull_y{}, push_x{}, push_y{};
  for (std::int64_t begin = 0; begin < width; begin += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const auto j = begin + lane;
      const auto at = static_cast<std::size_t>(lane);
      const float dx = x - xs[j], dy = y - ys[j];
      const float closeness = 1.0f / (1.0f + dx * dx + dy * dy);
      const float pull = p[j] * closeness, push = closeness * closeness;
      near[at] += closeness;
      pull_x[at] += pull * dx;
      pull_y[at] += pull * dy;
      push_x[at] += push * dx;
      push_y[at] += push * dy;
    }
  }
  return {{total(pull_x), total(pull_y)}, {total(push_x), total(push_y)}, total(near)};
}

/// The points, and how they move.
class Layout {
 public:
  Layout(const at::Tensor& p, const at::Tensor& start, const TsneOptions& options)
      : p_(p), n_(start.size(0)), width_(p.size(1)), rate_(options.learning_rate), sums_(static_cast<std::size_t>(n_)) {
    constexpr float kFarAway = 1e18f;
    for (std::int64_t d = 0; d < 2; ++d) {
      auto& places = places_[static_cast<std::size_t>(d)];
      places.assign(static_cast<std::size_t>(width_), kFarAway);
      for (std::int64_t i = 0; i < n_; ++i) places[static_cast<std::size_t>(i)] = start[i][d].item<float>();
    }
    if (rate_ == 0) rate_ = std::max(50.0, static_cast<double>(n_) / options.early_exaggeration / 4);
  }

  /// Gradient descent with momentum and a gain for each coordinate, from iteration `begin` on. Ends early when the
  /// divergence has not become smaller for `patience` iterations, or hardly anything moves.
  void descend(std::int64_t begin, std::int64_t end, double momentum, double exaggeration, std::int64_t patience) {
    constexpr double kSmallestGradient = 1e-7;
    std::vector<double> velocity(static_cast<std::size_t>(2 * n_), 0.0), gains(velocity.size(), 1.0);
    double best = std::numeric_limits<double>::infinity();
    auto best_at = begin;
    for (auto iteration = begin; iteration < end; ++iteration) {
      CancellationScope::check();
      const double norm = step(momentum, exaggeration, velocity, gains);
      if ((iteration + 1) % kCheckEvery != 0) continue;
      const double now = divergence(exaggeration);
      if (now < best) {
        best = now;
        best_at = iteration;
      } else if (iteration - best_at > patience) {
        return;
      }
      if (norm <= kSmallestGradient) return;
    }
  }

  /// Kullback-Leibler divergence of the similarities in the plane from those between the features.
  double divergence(double exaggeration = 1) {
    const double all = sum_up();
    std::vector<double> rows(static_cast<std::size_t>(n_));
    base::parallel_for(0, n_, 16, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) rows[static_cast<std::size_t>(i)] = divergence_of(i, all, exaggeration);
    });
    double sum = 0;
    for (const double row : rows) sum += row;
    return sum;
  }

  at::Tensor coordinates() const {
    auto result = at::empty({n_, 2}, at::kFloat);
    for (std::int64_t d = 0; d < 2; ++d)
      result.select(1, d).copy_(
          at::from_blob(const_cast<float*>(places_[static_cast<std::size_t>(d)].data()), {n_}, at::kFloat));
    return result;
  }

 private:
  /// Fills sums_; returns the closeness of all pairs, Z.
  double sum_up() {
    const float *xs = places_[0].data(), *ys = places_[1].data();
    base::parallel_for(0, n_, 16, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i)
        sums_[static_cast<std::size_t>(i)] = sums_of(p_.const_data_ptr<float>() + i * width_, xs, ys, width_, i);
    });
    double all = 0;
    for (const auto& sums : sums_) all += sums.closeness - 1;
    return std::max(all, kSmallest);
  }

  /// Equation 5, then a step; returns the gradient's norm.
  double step(double momentum, double exaggeration, std::vector<double>& velocity, std::vector<double>& gains) {
    const double all = sum_up();
    double squares = 0;
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      for (std::size_t d = 0; d < 2; ++d) {
        const double gradient = 4 * (exaggeration * sums_[i].attraction[d] - sums_[i].repulsion[d] / all);
        auto &speed = velocity[2 * i + d], &gain = gains[2 * i + d];
        squares += gradient * gradient;
        gain = std::max(0.01, speed * gradient < 0 ? gain + 0.2 : gain * 0.8);
        speed = momentum * speed - rate_ * gain * gradient;
        places_[d][i] += static_cast<float>(speed);
      }
    }
    return std::sqrt(squares);
  }

  double divergence_of(std::int64_t i, double all, double exaggeration) const {
    const float* p = p_.const_data_ptr<float>() + i * width_;
    const auto at = static_cast<std::size_t>(i);
    double sum = 0;
    for (std::size_t j = 0; j < static_cast<std::size_t>(n_); ++j) {
      if (j == at || p[j] <= 0) continue;
      const double dx = static_cast<double>(places_[0][at]) - static_cast<double>(places_[0][j]);
      const double dy = static_cast<double>(places_[1][at]) - static_cast<double>(places_[1][j]);
      const double wanted = exaggeration * static_cast<double>(p[j]);
      sum += wanted * std::log(wanted / std::max(1 / (1 + dx * dx + dy * dy) / all, kSmallest));
    }
    return sum;
  }

  at::Tensor p_;
  std::int64_t n_, width_;
  double rate_;
  Places places_;
  std::vector<Sums> sums_;
};

/// [N, 2], the first coordinate's deviation 1e-4.
at::Tensor start_of(const at::Tensor& features, const TsneOptions& options) {
  constexpr double kDeviation = 1e-4;
  const auto n = features.size(0);
  if (!options.seed) {
    const auto components = features.size(1) > 1 ? explain::principal_components(features)
                                                 : at::cat({features, at::zeros_like(features)}, 1).to(at::kDouble);
    const auto deviation = components.select(1, 0).std(/*unbiased=*/false).clamp_min(kSmallest);
    return (components / deviation * kDeviation).to(at::kFloat);
  }
  base::Uniform uniform({.seed = *options.seed, .stream = kStream});
  const auto start = at::empty({n, 2}, at::kFloat);
  for (std::int64_t i = 0; i < n; ++i) {  // Box and Muller 1958
    const double radius = std::sqrt(-2 * std::log(1 - uniform(0, 1))), angle = 2 * std::numbers::pi * uniform(0, 1);
    start[i][0] = kDeviation * radius * std::cos(angle);
    start[i][1] = kDeviation * radius * std::sin(angle);
  }
  return start;
}

void check(const TsneOptions& options) {
  const auto positive = [](double value, const char* what) {
    base::require(std::isfinite(value) && value > 0, std::string("t-SNE: ") + what, "a number above 0", value);
  };
  if (options.perplexity) positive(*options.perplexity, "perplexity");
  positive(options.early_exaggeration, "early_exaggeration");
  if (options.learning_rate != 0) positive(options.learning_rate, "learning_rate");
  base::require(options.iterations >= kExaggerated, "t-SNE: iterations", std::to_string(kExaggerated) + " or more",
                options.iterations);
}

}  // namespace

TsneResult tsne(const at::Tensor& features, const TsneOptions& options) {
  check(options);
  return base::translated("t-SNE", [&] {
    const at::NoGradGuard no_grad;
    const auto rows = explain::checked_features(features, 4, 1);
    const auto n = rows.size(0);
    if (n > kMostRows)
      throw Error(ErrorCode::kLimit, "t-SNE: expected at most " + std::to_string(kMostRows) +
                                         " rows, for it compares all pairs, found " + std::to_string(n));
    const double perplexity = options.perplexity.value_or(std::min(30.0, static_cast<double>(n - 1) / 3));
    base::require(perplexity < static_cast<double>(n), "t-SNE: perplexity",
                  "less than the " + std::to_string(n) + " rows", perplexity);
    const auto width = (n + kLanes - 1) / kLanes * kLanes;
    Layout layout(similarities(rows, perplexity, width), start_of(rows, options), options);
    layout.descend(0, kExaggerated, 0.5, options.early_exaggeration, kExaggerated);
    layout.descend(kExaggerated, options.iterations, 0.8, 1, 300);
    const double divergence = layout.divergence();
    return TsneResult{layout.coordinates(), divergence};
  });
}

}  // namespace graft
