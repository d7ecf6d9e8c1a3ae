#include <graft/recipe.h>

#include <algorithm>
#include <cmath>
#include <string>

#include <graft/model.h>

#include "base/check.h"

namespace graft {

// fastai/callback/schedule.py, fine_tune and fit_one_cycle.
std::vector<Phase> phases_of(const FineTune& recipe, const Model& model) {
  base::require(recipe.frozen_epochs >= 0, "frozen_epochs", "0 or more", recipe.frozen_epochs);
  base::require(recipe.epochs >= 1, "epochs", "1 or more", recipe.epochs);
  base::require(recipe.rate > 0 && std::isfinite(recipe.rate), "rate", "above 0", recipe.rate);
  base::require(recipe.rate_span >= 1 && std::isfinite(recipe.rate_span), "rate_span", "1 or more", recipe.rate_span);
  constexpr double kFinalDiv = 1e5;
  std::vector<Phase> phases;
  if (recipe.frozen_epochs > 0)
    phases.push_back({.freeze = "all",
                      .epochs = recipe.frozen_epochs,
                      .schedule = Schedule{.decay = OneCycle{.pct_start = 0.99, .div = 25, .final_div = kFinalDiv}}});
  const auto stages = static_cast<double>(std::max<std::size_t>(model.stages().size(), 1));
  phases.push_back({.freeze = "none",
                    .epochs = recipe.epochs,
                    .rate = recipe.rate,
                    .layer_decay = std::pow(recipe.rate_span, -1 / stages),
                    .schedule = Schedule{.decay = OneCycle{.pct_start = 0.3, .div = 5, .final_div = kFinalDiv}}});
  return phases;
}

std::vector<Phase> phases_of(const GradualUnfreezing& recipe, const Model& model) {
  base::require(recipe.epochs_per_stage >= 1, "epochs_per_stage", "1 or more", recipe.epochs_per_stage);
  base::require(recipe.final_epochs >= 1, "final_epochs", "1 or more", recipe.final_epochs);
  base::require(recipe.layer_decay > 0 && recipe.layer_decay <= 1, "layer_decay", "above 0, at most 1",
                recipe.layer_decay);
  std::vector<Phase> phases{{.freeze = "all", .epochs = recipe.epochs_per_stage, .layer_decay = recipe.layer_decay}};
  for (auto frozen = model.stages().size(); frozen-- > 1;)
    phases.push_back({.freeze = "stages:" + std::to_string(frozen),
                      .epochs = recipe.epochs_per_stage,
                      .layer_decay = recipe.layer_decay});
  phases.push_back({.freeze = "none", .epochs = recipe.final_epochs, .layer_decay = recipe.layer_decay});
  return phases;
}

}  // namespace graft
