#include <graft/lr_finder.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <graft/model.h>

#include "base/check.h"
#include "base/normal_mode.h"
#include "base/translate.h"
#include "train/fit.h"
#include "train/kept_model.h"
#include "train/phases.h"

namespace graft {

namespace {

/// With fewer there is no fall to be told from the noise, and valley() leaves out most of them.
constexpr std::int64_t kFewestSteps = 20;
constexpr double kSmoothing = 0.98;  // fastai/callback/schedule.py, LRFinder and Recorder

void check(const LrFinderOptions& o) {
  base::require(o.first > 0 && std::isfinite(o.first), "lr_finder.first", "above 0", o.first);
  base::require(o.last > o.first && std::isfinite(o.last), "lr_finder.last", "more than the first", o.last);
  base::require(o.steps >= kFewestSteps, "lr_finder.steps", std::to_string(kFewestSteps) + " or more", o.steps);
  base::require(o.diverged > 1, "lr_finder.diverged", "above 1", o.diverged);
}

}  // namespace

std::size_t valley(const std::vector<double>& losses) {
  if (losses.empty()) base::refuse("learning rates", "a curve", "none");
  const std::size_t n = losses.size();
  const std::size_t skipped = n / 10, cut = n > skipped + 5 + 2 ? 5 : 0;
  const std::size_t count = n - skipped - cut;
  const auto loss = [&](std::size_t i) { return losses[skipped + i]; };
  // The longest falling subsequence that ends at each step.
  std::vector<std::size_t> length(count, 1);
  std::size_t end = 0, start = 0;
  for (std::size_t i = 1; i < count; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (loss(i) < loss(j)) length[i] = std::max(length[i], length[j] + 1);
      if (length[end] < length[i]) {
        end = i;
        start = end - std::min(end, length[end]);
      }
    }
  }
  const auto section = static_cast<double>(end - start) / 3;
  return skipped + start + static_cast<std::size_t>(section) + static_cast<std::size_t>(section / 2);
}

LrCurve find_learning_rate(Model& model, const TrainerOptions& trainer, const Dataset& train,
                           const LrFinderOptions& o) {
  return base::translated("looking for a learning rate", [&] {
    const base::NormalMode normal;
    check(o);
    TrainerOptions options = trainer;
    options.schedule = {};
    options.ema_decay = 0;
    const train::KeptModel kept(model, train::trained_in(model, {Phase()}));
    const FitOptions fit_options{.batch_size = o.batch_size, .loader_threads = o.loader_threads};
    train::Fit fit(model, options, fit_options, train);
    fit.begin({});
    const double factor = std::log(o.last / o.first) / static_cast<double>(o.steps - 1);
    fit.set_rates([&](std::int64_t step) { return o.first * std::exp(factor * static_cast<double>(step)); });

    LrCurve curve;
    double mean = 0, lowest = std::numeric_limits<double>::infinity();
    train::Running before;
    const auto after_step = [&] {
      const auto& now = fit.running();
      const double loss = (now.loss_sum - before.loss_sum) / static_cast<double>(now.seen - before.seen);
      before = now;
      const auto step = std::ssize(curve.rates);
      mean = kSmoothing * mean + (1 - kSmoothing) * loss;
      curve.rates.push_back(fit.learning_rate());
      curve.losses.push_back(loss);
      curve.smoothed.push_back(mean / (1 - std::pow(kSmoothing, static_cast<double>(step + 1))));
      lowest = std::min(lowest, curve.smoothed.back());
      if (o.on_step) o.on_step(step + 1, o.steps);
      return step + 1 < o.steps && curve.smoothed.back() <= o.diverged * lowest;
    };
    try {
      for (std::int64_t epoch = 0; fit.epoch(epoch, after_step); ++epoch) {
        fit.epoch_ended(0);
        before = {};
      }
    } catch (const Error& error) {  // a loss that is no number has diverged
      if (error.code() != ErrorCode::kNumeric || curve.rates.empty()) throw;
    }
    curve.suggestion = curve.rates[valley(curve.smoothed)];
    return curve;
  });
}

}  // namespace graft
