#include <csignal>
#include <cstdio>

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

void run(const Options& o, const CLI::App& app, const Common& common) {
  const Interruption interruption(common);
  const auto options = trainer_options(o.training, common);
  const bool first = is_first(common);
  if (common.processes && o.doctor)
    throw Error(ErrorCode::kConfig, "--doctor: expected one process, found several; run graft doctor before");
  if (first) check_writable(o.out);
  RunReport report(first ? o.reports : ReportOptions(), app,
                   short_path(o.training.model.path) + " fine-tuned on " + short_path(o.training.train));
  auto [train, val] = training_data(o.training);
  auto doctor = doctor_visit(o.doctor, common, options, *train, *val);
  Model model = model_to_train(o.training, common, *train, *val, [&](Model& loaded) {
    if (doctor) doctor->before_new_head(loaded);
  });

  auto fit = fit_options(o.training, common, model);
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
  const auto history = trainer.fit(*train, *val, fit);
  if (history.interrupted) {
    if (!o.checkpoint_dir.empty()) note(common, "saved a checkpoint in " + o.checkpoint_dir + "; go on with --resume");
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
  add_training_options(app, o->training);
  app.add_option("--out", o->out, "file for the trained model")->required();
  app.add_option("--keep", o->keep, "which epoch's weights to save")
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
