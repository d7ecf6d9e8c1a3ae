// torch/optim/lr_scheduler.py (LinearLR, StepLR, CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, SequentialLR) and
// keras/src/callbacks/reduce_lr_on_plateau.py.

#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>
#include <utility>
#include <variant>

#include <graft/error.h>

#include "base/check.h"
#include "base/overloaded.h"
#include "base/text.h"

namespace graft {

namespace {

void check(bool fine, const char* field, const char* expected, double found) {
  base::require(fine, std::string("schedule: ") + field, expected, found);
}

}  // namespace

Schedule Schedule::parse(std::string_view text, std::int64_t warmup_steps) {
  const auto parts = base::split(text, ':');
  const std::string name = parts.empty() ? "" : parts[0];
  const auto number = [&](std::size_t i) { return base::parse_number(parts[i], "schedule " + name); };
  Schedule schedule;
  schedule.warmup_steps = warmup_steps;
  if (name == "step" && (parts.size() == 2 || parts.size() == 3)) {
    StepDecay step{base::parse_integer(parts[1], "schedule step")};
    if (parts.size() == 3) step.factor = number(2);
    schedule.decay = step;
  } else if (name == "plateau" && parts.size() <= 2) {
    ReduceOnPlateau plateau;
    if (parts.size() == 2) plateau.patience = base::parse_integer(parts[1], "schedule plateau");
    schedule.decay = plateau;
  } else if (name == "cosine" && parts.size() == 1) {
    schedule.decay = CosineDecay{};
  } else if (name == "one-cycle" && parts.size() == 1) {
    schedule.decay = OneCycle{};
  } else if (name != "constant" || parts.size() != 1) {
    throw Error(ErrorCode::kConfig,
                "schedule: expected constant, step:EPOCHS[:FACTOR], cosine, one-cycle or plateau[:PATIENCE], found \"" +
                    std::string(text) + "\"");
  }
  train::LearningRate(schedule, Numerics::kTorch, 1, {.steps = {1}});  // checks the values
  return schedule;
}

namespace train {

std::int64_t EpochSteps::before(std::int64_t epoch) const {
  const auto sum = [&](std::size_t from, std::int64_t count) {
    const auto first = steps.begin() + static_cast<std::ptrdiff_t>(from);
    return std::accumulate(first, first + count, std::int64_t{0});
  };
  if (epoch <= std::ssize(steps)) return sum(0, epoch);
  const auto once = static_cast<std::int64_t>(again), period = std::ssize(steps) - once;
  const auto later = epoch - once;
  return sum(0, once) + later / period * sum(again, period) + sum(again, later % period);
}

std::int64_t EpochSteps::epoch_of(std::int64_t step) const {
  const auto period = std::ssize(steps) - static_cast<std::int64_t>(again);
  const auto of_period = before(std::ssize(steps)) - before(static_cast<std::int64_t>(again));
  // As many whole periods as there are behind the epochs that come once.
  const auto later = step - before(static_cast<std::int64_t>(again));
  const auto periods = later > 0 && of_period > 0 ? later / of_period : 0;
  std::int64_t epoch = 0, left = step - periods * of_period;
  while (epoch < std::ssize(steps) && left >= steps[static_cast<std::size_t>(epoch)])
    left -= steps[static_cast<std::size_t>(epoch++)];
  return epoch + periods * period;
}

LearningRate::LearningRate(const Schedule& schedule, Numerics numerics, double rate, EpochSteps steps)
    : schedule_(schedule),
      numerics_(numerics),
      rate_(rate),
      steps_(std::move(steps)),
      total_(steps_.total()),
      plateau_{rate} {
  const auto factor = [](double value) { check(value > 0 && value <= 1, "factor", "above 0, at most 1", value); };
  std::visit(base::Overloaded{
                 [](const ConstantRate&) {},
                 [&](const StepDecay& o) {
                   check(o.epochs >= 1, "epochs", "1 or more", static_cast<double>(o.epochs));
                   factor(o.factor);
                 },
                 [](const CosineDecay& o) {
                   check(o.final_fraction >= 0 && o.final_fraction <= 1, "final_fraction", "0 to 1", o.final_fraction);
                 },
                 [](const OneCycle& o) {
                   check(o.pct_start > 0 && o.pct_start < 1, "pct_start", "between 0 and 1", o.pct_start);
                   check(o.div >= 1 && std::isfinite(o.div), "div", "1 or more", o.div);
                   check(o.final_div >= 1 && std::isfinite(o.final_div), "final_div", "1 or more", o.final_div);
                 },
                 [&](const ReduceOnPlateau& o) {
                   factor(o.factor);
                   check(o.patience >= 0, "patience", "0 or more", static_cast<double>(o.patience));
                   check(o.threshold >= 0 && std::isfinite(o.threshold), "threshold", "0 or more", o.threshold);
                   check(o.min_rate >= 0 && std::isfinite(o.min_rate), "min_rate", "0 or more", o.min_rate);
                 }},
             schedule.decay);
  check(schedule.warmup_steps >= 0, "warmup_steps", "0 or more", static_cast<double>(schedule.warmup_steps));
  check(schedule.warmup_start > 0 && schedule.warmup_start <= 1, "warmup_start", "above 0, at most 1",
        schedule.warmup_start);
}

double LearningRate::at(std::int64_t step) const {
  const std::int64_t warmup = schedule_.warmup_steps;
  if (step >= warmup) return decayed(step - warmup, total_ - warmup);
  const double start = schedule_.warmup_start;  // a run that is shorter ends within the warm-up
  return beginning() * (start + (1 - start) * static_cast<double>(step) / static_cast<double>(warmup));
}

/// Where the warm-up goes to.
double LearningRate::beginning() const {
  if (const auto* cycle = std::get_if<OneCycle>(&schedule_.decay)) return rate_ / cycle->div;
  return std::holds_alternative<ReduceOnPlateau>(schedule_.decay) ? plateau_.rate : rate_;
}

double LearningRate::decayed(std::int64_t step, std::int64_t steps) const {
  const auto along_cosine = [](double from, double to, double part) {
    return to + (from - to) / 2 * (1 + std::cos(std::numbers::pi * part));
  };
  return std::visit(
      base::Overloaded{
          [&](const ConstantRate&) { return rate_; },
          [&](const StepDecay& o) {
            return rate_ * std::pow(o.factor, static_cast<double>(steps_.epoch_of(step) / o.epochs));
          },
          [&](const CosineDecay& o) {
            const double part = static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(steps, 1));
            return along_cosine(rate_, rate_ * o.final_fraction, std::min(part, 1.0));
          },
          [&](const OneCycle& o) {
            // The peak and the last step as OneCycleLR counts them.
            const double peak = o.pct_start * static_cast<double>(steps) - 1;
            const double last = static_cast<double>(steps) - 1, now = std::min(static_cast<double>(step), last);
            const double start = rate_ / o.div;
            if (now <= peak) return along_cosine(start, rate_, peak > 0 ? now / peak : 1);
            return along_cosine(rate_, start / o.final_div, last > peak ? (now - peak) / (last - peak) : 1);
          },
          [&](const ReduceOnPlateau&) { return plateau_.rate; }},
      schedule_.decay);
}

void LearningRate::epoch_ended(double loss) {
  if (const auto* plateau = std::get_if<ReduceOnPlateau>(&schedule_.decay)) look_for_plateau(*plateau, loss);
}

void LearningRate::look_for_plateau(const ReduceOnPlateau& plateau, double loss) {
  const bool keras = numerics_ == Numerics::kKeras;
  if (loss < (keras ? plateau_.best - plateau.threshold : plateau_.best * (1 - plateau.threshold))) {
    plateau_.best = loss;
    plateau_.waited = 0;
    return;
  }
  ++plateau_.waited;
  if (keras ? plateau_.waited < plateau.patience : plateau_.waited <= plateau.patience) return;
  plateau_.waited = 0;
  if (plateau_.rate > plateau.min_rate) plateau_.rate = std::max(plateau_.rate * plateau.factor, plateau.min_rate);
}

}  // namespace train
}  // namespace graft
