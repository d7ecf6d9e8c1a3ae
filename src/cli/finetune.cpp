#include <algorithm>
#include <csignal>
#include <cstdio>
#include <optional>

#include "cli/common.h"
#include "cli/config.h"
#include "cli/doctor.h"
#include "cli/interrupt.h"
#include "cli/numbers.h"
#include "cli/processes.h"
#include "cli/report_options.h"
#include "cli/training_options.h"

namespace graft::cli {

namespace {

struct Options {
  TrainingFlags training;
  std::string out, keep = "best";
  std::string checkpoint_dir;
  std::int64_t checkpoint_steps = 0;
  bool resume = false, doctor = false;
  ReportOptions reports;
};

std::string percent(double fraction) {
  char text[16];
  std::snprintf(text, sizeof text, "%.2f %%", fraction * 100);
  return text;
}

std::string figures(double loss, double accuracy) {
  char text[64];
  std::snprintf(text, sizeof text, "loss %.4f  accuracy %s", loss, percent(accuracy).c_str());
  return text;
}

/// One bar for each epoch, and one line that stays.
class EpochProgress {
 public:
  EpochProgress(const Common& common, const FitOptions& fit) : progress_(common), epochs_(fit.epochs) {
    if (fit.phases.empty()) return;
    epochs_ = 0;
    for (const auto& phase : fit.phases) epochs_ += phase.epochs;
  }

  void step(const StepInfo& info) {
    title_ = "epoch " + std::to_string(info.epoch + 1) + "/" + std::to_string(epochs_);
    std::string text = figures(info.loss, info.accuracy);
    if (info.validating) {
      text += "  validating";
    } else {
      char rate[32];
      std::snprintf(rate, sizeof rate, "  %.1f/s", info.images_per_second);
      text += rate;
    }
    progress_.update(title_, info.step, info.steps, text);
  }

  void epoch(const EpochInfo& info) {
    std::string line = title_ + "  " + figures(info.loss, info.accuracy);
    if (info.val_accuracy) line += "  val " + figures(*info.val_loss, *info.val_accuracy);
    progress_.finish(line + "  " + clock_text(info.seconds));
  }

 private:
  Progress progress_;
  std::int64_t epochs_;
  std::string title_;
};

/// That of the run which is resumed, if there is one; the same in all processes.
std::optional<std::int64_t> resumed_batch_size(const Options& o, const Common& common) {
  if (!o.resume) return std::nullopt;
  std::optional<std::int64_t> known;
  if (is_first(common)) known = batch_size_of_checkpoint(o.checkpoint_dir);
  if (!common.processes) return known;
  const auto text = common.processes->broadcast(known ? std::to_string(*known) : std::string());
  return text.empty() ? std::nullopt : std::optional<std::int64_t>(std::stoll(text));
}

/// The same in all processes.
std::int64_t chosen_batch_size(const Options& o, const Common& common, const TrainerOptions& options,
                               const FitOptions& fit, Model& model, const Dataset& train,
                               const Interruption& interruption) {
  if (const auto known = resumed_batch_size(o, common)) {
    note(common, "--batch auto: " + std::to_string(*known) + ", as the run has it that is resumed");
    return *known;
  }
  // On the CPU larger batches are no faster, and trials take their time.
  constexpr std::int64_t kFirst = 2, kLargest = 4096, kLargestOnCpu = 64;
  const auto processes = common.processes ? common.processes->size() : 1;
  const auto share = static_cast<std::int64_t>(train.size()) / processes;
  const BatchFinderOptions finder{
      .first = kFirst,
      .largest = std::max(kFirst, std::min(share, model.device().is_cuda() ? kLargest : kLargestOnCpu)),
      .loader_threads = fit.loader_threads,
      .phases = fit.phases,
      .processes = common.processes};
  // Of several processes one that ended would leave the others waiting.
  std::optional<CancellationScope> until_stopped;
  if (!common.processes) until_stopped.emplace(interruption.token());
  std::int64_t found = 0;
  try {
    found = find_batch_size(model, options, train, finder);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) interruption.rethrow();
    throw;
  }
  note(common, "--batch auto: " + std::to_string(found));
  return found;
}

void run(const Options& o, const CLI::App& app, const Common& common) {
  const Interruption interruption(common);
  const auto options = trainer_options(o.training, common);
  const bool first = is_first(common);
  if (common.processes && o.doctor)
    throw Error(ErrorCode::kConfig, "--doctor: expected one process, found several; run graft doctor before");
  if (first) check_writable(o.out);
  RunReport report(first ? o.reports : ReportOptions(), app,
                   short_path(o.training.model.path) + " fine-tuned on " + short_path(o.training.train));
  auto [train, val] = training_data(o.training, common);
  auto doctor = doctor_visit(o.doctor, common, options, *train, *val);
  Model model = model_to_train(o.training, common, *train, *val, [&](Model& loaded) {
    if (doctor) doctor->before_new_head(loaded);
  });

  auto fit = fit_options(o.training, common, model);
  if (fit.batch_size == kAutoBatch)
    fit.batch_size = chosen_batch_size(o, common, options, fit, model, *train, interruption);
  report.begin(model, *train, *val, fit, options.seed);
  EpochProgress progress(common, fit);
  fit.checkpoint = {.directory = o.checkpoint_dir, .every_steps = o.checkpoint_steps, .resume = o.resume};
  fit.processes = common.processes;
  fit.stop = interruption.token();
  fit.on_step = [&](const StepInfo& info) {
    progress.step(info);
    report.step(info);
  };
  fit.on_epoch = [&](const EpochInfo& info) {
    progress.epoch(info);
    report.epoch(info);
  };
  if (doctor) doctor->before_training(model, fit);
  Trainer trainer(model, options);
  History history;
  try {
    history = trainer.fit(*train, *val, fit);
  } catch (const Error& error) {
    if (doctor && error.code() == ErrorCode::kNumeric) doctor->after_training({});  // which may know why
    throw;
  }
  if (history.interrupted) {
    if (first)
      note(common,
           o.checkpoint_dir.empty()
               ? "nothing of this run is saved; --checkpoint-dir FOLDER keeps its state, --resume goes on with it"
               : "saved a checkpoint in " + o.checkpoint_dir + "; go on with --resume");
    interruption.rethrow();
    throw Interrupted{SIGTERM};  // which another process has had
  }
  if (doctor) {
    doctor->after_training(history);
    report.set_findings(doctor->diagnosis().findings);
  }
  if (!first) return common.processes->barrier();
  if (o.keep == "best") trainer.restore_best();
  model.save(o.out);
  report.finish(common, model, trainer, *val, history);
  if (common.json && doctor)
    print_with_diagnosis(to_json(history), doctor->diagnosis());
  else
    print(common.json ? to_json(history) + "\n" : to_text(history) + "saved " + o.out + " (" + o.keep + " epoch)\n");
  if (common.processes) common.processes->barrier();
}

}  // namespace

Command add_finetune(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_training_options(app, o->training, /*auto_batch=*/true);
  app.add_option("--out", o->out, "file for the trained model")->required();
  app.add_option(
         "--keep", o->keep,
         "which epoch's weights to save; best: of the highest validation accuracy, of equals with the lower loss")
      ->check(CLI::IsMember({"best", "last"}))
      ->capture_default_str();
  auto* directory = app.add_option("--checkpoint-dir", o->checkpoint_dir,
                                   "folder for the run's state, so that it can go on after it was stopped or killed");
  app.add_option("--checkpoint-steps", o->checkpoint_steps,
                 "save it every so many steps too, not at epochs' ends alone")
      ->check(at_least_one())
      ->needs(directory);
  app.add_flag("--resume", o->resume, "go on from the checkpoint, if there is one")->needs(directory);
  app.add_flag("--doctor", o->doctor, "say what graft doctor would, before and after training");
  add_config(app);
  add_run_options(app, o->reports);
  return [o, &app](const Common& common) { run(*o, app, common); };
}

}  // namespace graft::cli
