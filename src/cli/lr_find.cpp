#include <algorithm>
#include <cstdio>

#include "cli/common.h"
#include "cli/config.h"
#include "cli/json.h"
#include "cli/numbers.h"
#include "cli/report_options.h"
#include "cli/training_options.h"

namespace graft::cli {

namespace {

struct Options {
  TrainingFlags training;
  LrFinderOptions finder;
  std::string report;
};

std::string line(const char* format, double a, double b) {
  char text[96];
  std::snprintf(text, sizeof text, format, a, b);
  return text;
}

/// The smoothed loss over the rates, as wide bars.
std::string drawn(const LrCurve& curve) {
  constexpr std::size_t kLines = 25;
  constexpr double kWidth = 50;
  const auto [low, high] = std::minmax_element(curve.smoothed.begin(), curve.smoothed.end());
  const double span = std::max(*high - *low, 1e-12);
  std::string text = "learning rate       loss\n";
  const auto count = curve.rates.size(), apart = std::max<std::size_t>(1, count / kLines);
  for (std::size_t i = 0; i < count; i += apart) {
    const auto width = static_cast<std::size_t>(1 + (kWidth - 1) * (curve.smoothed[i] - *low) / span);
    text += line("%13.3g %10.4f  ", curve.rates[i], curve.smoothed[i]) + std::string(width, '=') + "\n";
  }
  return text;
}

void run(const Options& o, const Common& common) {
  if (!o.report.empty()) check_writable(o.report);
  auto [train, val] = training_data(o.training, common);
  Model model = model_to_train(o.training, common, *train, *val);
  Progress progress(common);
  auto finder = o.finder;
  finder.batch_size = o.training.batch;
  finder.loader_threads = loader_threads(common);
  finder.on_step = [&](std::int64_t step, std::int64_t steps) { progress.update("learning rates", step, steps, ""); };
  const auto curve = find_learning_rate(model, trainer_options(o.training, common), *train, finder);
  progress.finish("");
  if (!o.report.empty()) write_atomically(o.report, to_html(curve));
  if (common.json) {
    print_json({{"suggestion", curve.suggestion},
                {"rates", curve.rates},
                {"losses", curve.losses},
                {"smoothed", curve.smoothed}});
  } else {
    print(drawn(curve) + line("suggestion: --lr %.2g\n", curve.suggestion, 0));
  }
}

}  // namespace

Command add_lr_find(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_training_options(app, o->training);
  for (const char* other : {"--epochs", "--recipe", "--frozen-epochs", "--steps-per-epoch", "--early-stopping", "--lr",
                            "--schedule", "--warmup", "--ema"})
    app.remove_option(app.get_option(other));
  app.add_option("--first", o->finder.first, "the rate to begin with")->check(positive_number())->capture_default_str();
  app.add_option("--last", o->finder.last, "the rate to end with")->check(positive_number())->capture_default_str();
  app.add_option("--steps", o->finder.steps, "how many, 20 or more")
      ->check(CLI::Range(20, 1'000'000'000).description("INT >= 20"))
      ->capture_default_str();
  add_page_option(app, o->report);
  add_config(app);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
