#include <algorithm>
#include <cstdio>
#include <optional>

#include "cli/common.h"
#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/numbers.h"
#include "cli/report_options.h"
#include "cli/training_options.h"

namespace graft::cli {

namespace {

struct Options {
  TrainingFlags training;
  SweepOptions sweep;
  std::string report;
};

std::string rate_text(const std::optional<double>& rate) {
  if (!rate) return "default";
  char text[32];
  std::snprintf(text, sizeof text, "%g", *rate);
  return text;
}

std::string title(const SweepRun& run) {
  return run.freeze + ", " + run.head + (run.learning_rate ? ", " + rate_text(run.learning_rate) : "");
}

bool diverged(const SweepRun& run) { return !run.error.empty(); }

/// The one whose best epoch is the best, as History::best goes; none if all diverged.
std::optional<std::size_t> best_of(const std::vector<SweepRun>& runs) {
  const auto rank = [](const SweepRun& run) {
    return std::pair(run.best().val_accuracy.value_or(0), -run.best().val_loss.value_or(0));
  };
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (!diverged(runs[i]) && (!best || rank(runs[i]) > rank(runs[*best]))) best = i;
  return best;
}

std::string table(const std::vector<SweepRun>& runs) {
  std::string text =
      "frozen              head                rate  trainable  val loss  val accuracy  epoch  seconds\n";
  const auto best = best_of(runs);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto& run = runs[i];
    double seconds = 0;
    for (const auto& epoch : run.history.epochs) seconds += epoch.seconds;
    char line[160];
    std::snprintf(line, sizeof line, "%-19s %-15s %8s %10lld", run.freeze.c_str(), run.head.c_str(),
                  rate_text(run.learning_rate).c_str(), static_cast<long long>(run.trainable));
    text += line;
    if (diverged(run)) {
      text += "  diverged: " + run.error + "\n";
      continue;
    }
    std::snprintf(line, sizeof line, " %9.4f %11.2f %% %6zu %8.1f%s\n", run.best().val_loss.value_or(0),
                  100 * run.best().val_accuracy.value_or(0), run.history.best + 1, seconds, i == best ? "  best" : "");
    text += line;
  }
  return text;
}

nlohmann::json json(const std::vector<SweepRun>& runs) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& run : runs)
    list.push_back({{"freeze", run.freeze},
                    {"head", run.head},
                    {"learning_rate", run.learning_rate ? nlohmann::json(*run.learning_rate) : nlohmann::json()},
                    {"trainable", run.trainable},
                    {"error", diverged(run) ? nlohmann::json(run.error) : nlohmann::json()},
                    {"history", nlohmann::json::parse(to_json(run.history))}});
  const auto best = best_of(runs);
  return {{"runs", std::move(list)}, {"best", best ? nlohmann::json(*best) : nlohmann::json()}};
}

void run(const Options& o, const Common& common) {
  if (!o.report.empty()) check_writable(o.report);
  const Interruption interruption(common);
  auto [train, val] = training_data(o.training, common);
  Model first = load_model(o.training.model, common);
  check_domain(first, holds_texts(o.training.domain, o.training.train));
  set_decoding(*train, o.training.reduced_decoding, first);
  set_decoding(*val, o.training.reduced_decoding, first);

  Progress progress(common);
  std::string now;
  auto fit = fit_options(o.training, common, first);
  fit.stop = interruption.token();
  fit.on_step = [&](const StepInfo& info) {
    progress.update(now, info.epoch * info.steps + info.step, fit.epochs * info.steps, "");
  };
  auto options = o.sweep;
  options.cut = Cut::parse(o.training.cut);
  options.batch_norm = parse_batch_norm(o.training.bn);
  options.initializer = initializer(o.training);
  options.on_run = [&](std::size_t index, std::size_t count, const SweepRun& run) {
    now = std::to_string(index + 1) + "/" + std::to_string(count) + " " + title(run);
  };
  const auto runs = sweep([&] { return load_model(o.training.model, common); }, trainer_options(o.training, common),
                          *train, *val, fit, options);
  interruption.rethrow();
  progress.finish("");
  if (!o.report.empty()) write_atomically(o.report, to_html(runs));
  common.json ? print_json(json(runs)) : print(table(runs));
}

}  // namespace

Command add_sweep(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_training_options(app, o->training);
  for (const char* other : {"--freeze", "--head", "--lr", "--recipe", "--frozen-epochs"})
    app.remove_option(app.get_option(other));
  app.add_option("--freeze-points", o->sweep.freeze_points,
                 "several of what finetune's --freeze takes: all,stages:3,none")
      ->delimiter(',')
      ->required();
  app.add_option("--heads", o->sweep.heads, "several of what finetune's --head takes, but keep")->delimiter('/');
  app.add_option("--learning-rates", o->sweep.learning_rates, "several rates; without them the optimiser's own")
      ->delimiter(',')
      ->check(positive_number());
  app.add_option("--out", o->sweep.directory,
                 "folder for checkpoints and cached features: the same sweep begun again goes on where it was");
  add_page_option(app, o->report);
  add_config(app);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
