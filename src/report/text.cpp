#include <algorithm>
#include <string_view>
#include <vector>

#include <graft/report.h>

#include "base/printf.h"
#include "base/text.h"
#include "base/translate.h"

namespace graft {

namespace {

using base::format;

std::string percent(const std::optional<double>& fraction) {
  return fraction ? format("%.2f %%", *fraction * 100) : "-";
}

std::string three_digits(const std::optional<double>& number) { return number ? format("%.3f", *number) : "-"; }

/// `width` characters of UTF-8: the middle left out, or blanks behind.
std::string column(std::string_view text, std::size_t width) {
  std::vector<std::string_view> characters;
  while (!text.empty()) {
    const auto rest = text;
    base::take_code_point(text);
    characters.push_back(rest.substr(0, rest.size() - text.size()));
  }
  std::string shown;
  const std::size_t half = (width - 2) / 2;
  for (std::size_t i = 0; i < characters.size(); ++i) {
    if (characters.size() <= width || i < half || i >= characters.size() - (width - 2 - half)) shown += characters[i];
    if (characters.size() > width && i == half) shown += "..";
  }
  return shown + std::string(width - std::min(width, characters.size()), ' ');
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const auto size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

std::string bad_images_text(const std::vector<BadImage>& bad) {
  if (bad.empty()) return "";
  std::string text = format("%zu unreadable %s left out:\n", bad.size(), bad.size() == 1 ? "file" : "files");
  for (const auto& image : bad) text += "  " + image.message + "\n";
  return text;
}

std::string per_class_text(const std::vector<ClassScores>& scores) {
  std::string text = "class                          examples  precision    recall        f1   ROC-AUC\n";
  for (const auto& c : scores)
    text += format("%s %8lld  %9.3f %9.3f %9.3f %9s\n", column(c.name, 30).c_str(), static_cast<long long>(c.support),
                   c.precision, c.recall, c.f1, three_digits(c.roc_auc).c_str());
  return text;
}

/// As rows of that table.
std::string averages_text(const Evaluation& e) {
  const auto row = [](const char* name, const Averages& a, const std::optional<double>& roc_auc) {
    return format("%-39s  %9.3f %9.3f %9.3f %9s\n", name, a.precision, a.recall, a.f1, three_digits(roc_auc).c_str());
  };
  return row("macro average", e.macro, e.roc_auc) + row("weighted average", e.weighted, {});
}

std::string intervals_text(const Evaluation& e) {
  if (!e.accuracy_interval || !e.macro_f1_interval) return "";
  return format("95 %% intervals: accuracy %.2f to %.2f %%, macro F1 %.3f to %.3f\n", e.accuracy_interval->low * 100,
                e.accuracy_interval->high * 100, e.macro_f1_interval->low, e.macro_f1_interval->high);
}

std::string confusion_text(const Evaluation& e) {
  constexpr std::size_t kMostClasses = 12;
  if (e.confusion.size() > kMostClasses) return "";
  std::string text = "\nconfusion (rows: true class, columns: predicted, in the same order)\n";
  for (std::size_t row = 0; row < e.confusion.size(); ++row) {
    text += column(e.per_class[row].name, 18);
    for (const auto count : e.confusion[row]) text += format(" %5lld", static_cast<long long>(count));
    text += '\n';
  }
  return text;
}

std::string reliability_text(const std::vector<ReliabilityBin>& bins) {
  std::string text = "\nconfidence   examples  mean confidence  accuracy\n";
  for (std::size_t i = 0; i < bins.size(); ++i)
    if (const auto& bin = bins[i]; bin.count > 0)
      text += format("%.2f - %.2f  %8lld  %15.3f  %8.3f\n", static_cast<double>(i) / static_cast<double>(bins.size()),
                     static_cast<double>(i + 1) / static_cast<double>(bins.size()), static_cast<long long>(bin.count),
                     bin.confidence, bin.accuracy);
  return text;
}

std::string top_losses_text(const Evaluation& e) {
  if (e.top_losses.empty()) return "";
  const auto name = [&](std::int64_t index) { return e.per_class[static_cast<std::size_t>(index)].name; };
  std::string text = "\n    loss  true class          predicted as              file\n";
  for (const auto& loss : e.top_losses)
    text += format("%8.4f  %s  %s %5.3f  %s\n", loss.loss, column(name(loss.true_class), 18).c_str(),
                   column(name(loss.predicted_class), 18).c_str(), loss.probability, loss.name.c_str());
  return text;
}

std::string rejection_text(const Evaluation& e) {
  if (!e.rejection) return "";
  return format("answers from %.4f on: %.2f %% of the examples, accuracy ", e.rejection->reject_below,
                e.rejection->coverage * 100) +
         percent(e.rejection->accuracy) + "\n";
}

std::string task_text(const TaskScores& task) {
  std::string text = "\n" + (task.name.empty() ? "" : task.name + ", ") + std::string(to_string(task.kind)) +
                     format(": loss %.4f", task.loss);
  const auto add = [&](const char* what, const std::optional<double>& value, double factor, const char* unit) {
    if (value) text += format(", %s %.4g%s", what, *value * factor, unit);
  };
  add("accuracy", task.accuracy, 100, " %");
  add("mean average precision", task.mean_average_precision, 1, "");
  add("ROC-AUC", task.roc_auc, 1, "");
  add("mean absolute error", task.mean_absolute_error, 1, "");
  add("root mean squared error", task.root_mean_squared_error, 1, "");
  add("R2", task.r2, 1, "");
  return text + "\n" + (task.per_class.empty() ? "" : per_class_text(task.per_class));
}

std::string calibration_text(const Task& task) {
  if (task.calibration == Calibration{}) return "";
  std::string text = "calibrated" + (task.name.empty() ? "" : ", " + task.name) +
                     format(": temperature %.4f", task.calibration.temperature);
  if (const auto least = task.calibration.reject_below) text += format(", no answer below %.4f", *least);
  return text + "\n";
}

std::string int8_text(const Int8Info& int8) {
  std::string text = format("int8 beside float32 on %lld pictures: ", static_cast<long long>(int8.pictures));
  if (int8.top1_agreement) text += "the same class first for " + percent(int8.top1_agreement) + ", ";
  text += format("largest difference of an answer %.4f, its mean over the pictures %.4f", int8.max_difference,
                 int8.mean_difference);
  if (int8.int8_accuracy)
    text += "; accuracy " + percent(int8.int8_accuracy) + " (float32 " + percent(int8.float32_accuracy) + ")";
  return text + "\n";
}

}  // namespace

std::string to_text(const QuantizationReport& report) {
  return base::translated("report", [&] {
    std::string text =
        format("%lld of %lld convolutions and %lld linear %s in int8",
               static_cast<long long>(report.convolutions_in_int8), static_cast<long long>(report.convolutions),
               static_cast<long long>(report.linear_in_int8), report.linear_in_int8 == 1 ? "layer" : "layers");
    for (std::size_t i = 0; i < report.in_float.size(); ++i)
      text += (i == 0 ? "; in float32: " : ", ") + report.in_float[i];
    return text + "\n" + int8_text(report.int8) +
           format("golden picture: largest difference of a logit to float32 %.4f of the largest\n",
                  report.golden_difference) +
           bad_images_text(report.bad_images);
  });
}

std::string to_text(const History& history) {
  return base::translated("report", [&] {
    std::string text = "epoch      loss  accuracy  val loss  val accuracy  seconds\n";
    for (std::size_t i = 0; i < history.epochs.size(); ++i) {
      const auto& e = history.epochs[i];
      text += format("%5zu  %8.4f  %8s  %8s  %12s  %7.1f%s\n", i + 1, e.loss, percent(e.accuracy).c_str(),
                     e.val_loss ? format("%.4f", *e.val_loss).c_str() : "-", percent(e.val_accuracy).c_str(), e.seconds,
                     i == history.best ? "  best" : "");
    }
    text += format("%.1f examples/s in training; frozen weights and statistics %s\n", history.images_per_second,
                   history.frozen_unchanged ? "unchanged (SHA-256 before and after)" : "CHANGED");
    return text + bad_images_text(history.bad_images);
  });
}

std::string to_text(const Evaluation& e) {
  return base::translated("report", [&] {
    const bool plain = e.tasks.size() <= 1 && !e.confusion.empty();
    std::string text = format("%lld examples: ", static_cast<long long>(e.examples));
    text += plain ? format("accuracy %.2f %%, top-5 %.2f %%, loss %.4f, calibration error %.3f\n", e.accuracy * 100,
                           e.top5_accuracy * 100, e.loss, e.ece)
                  : format("loss %.4f\n", e.loss);
    if (plain) {
      text += intervals_text(e) + rejection_text(e) + "\n" + per_class_text(e.per_class) + averages_text(e) +
              confusion_text(e) + reliability_text(e.reliability);
    } else {
      for (const auto& task : e.tasks) text += task_text(task);
    }
    return text + top_losses_text(e) + bad_images_text(e.bad_images);
  });
}

std::string to_text(const CalibrationReport& report) {
  return base::translated("report", [&] {
    std::string text =
        format("temperature %.4f, from %lld examples%s\n", report.calibration.temperature,
               static_cast<long long>(report.examples),
               report.temperature_found ? "" : ": none is best, as where all answers are right; take more pictures") +
        format("calibration error %.4f before, %.4f after; negative log likelihood %.4f before, %.4f after\n",
               report.ece_before, report.ece_after, report.nll_before, report.nll_after);
    if (const auto least = report.calibration.reject_below)
      text += format("answers from %.4f on: %.2f %% of the examples, accuracy ", *least, report.coverage * 100) +
              percent(report.accuracy_of_answers) + " (of all: " + percent(report.accuracy) + ")\n";
    return text + bad_images_text(report.bad_images);
  });
}

std::string to_text(const ModelComparison& c) {
  return base::translated("report", [&] {
    const auto row = [](const char* name, const ComparedModel& m) {
      return format("%-8s %8.2f %%  %17.3f  %23.4f\n", name, m.accuracy * 100, m.ece, m.nll);
    };
    return format("%lld examples\n", static_cast<long long>(c.examples)) +
           "           accuracy  calibration error  negative log likelihood\n" + row("first", c.first) +
           row("second", c.second) +
           format("right: both %lld, only the first %lld, only the second %lld, none %lld\n",
                  static_cast<long long>(c.both_right), static_cast<long long>(c.only_first_right),
                  static_cast<long long>(c.only_second_right), static_cast<long long>(c.both_wrong)) +
           format("difference of accuracy (second - first) %+.2f points, 95 %% interval %+.2f to %+.2f\n",
                  c.difference * 100, c.difference_interval.low * 100, c.difference_interval.high * 100) +
           format("McNemar's test: p = %.4g (exact); chi-squared %.3f with continuity correction, p = %.4g\n",
                  c.mcnemar.exact_p, c.mcnemar.chi_squared, c.mcnemar.chi_squared_p) +
           bad_images_text(c.bad_images);
  });
}

std::string to_text(const PlanInfo& info) {
  return base::translated("report", [&] {
    const std::string precision(to_string(info.precision));
    if (!info.obstacle.empty()) return precision + ": the interpreter runs all of it: " + info.obstacle + "\n";
    std::string text =
        format("%s: %lld of %lld convolutions fused, %lld with ReLU, %lld with an addition\n", precision.c_str(),
               static_cast<long long>(info.fused), static_cast<long long>(info.convolutions),
               static_cast<long long>(info.with_relu), static_cast<long long>(info.with_add));
    for (const auto& one : info.operators)
      text += format("%6lld  %-8s  ", static_cast<long long>(one.count), one.by.c_str()) + one.name + "\n";
    for (const auto& layer : info.unfused) text += "not fused: " + layer + "\n";
    return text;
  });
}

namespace {

std::string input_text(const Preprocessing& p) {
  return "preprocessing: " +
         (p.resize_shorter_px ? format("shorter side to %d, ", *p.resize_shorter_px) +
                                    format("centre crop %d x %d", p.crop_width_px, p.crop_height_px)
                              : format("stretched to %d x %d", p.crop_width_px, p.crop_height_px)) +
         format(" (%s), %s, scale %.6g, mean %.6g %.6g %.6g, std %.6g %.6g %.6g\n",
                std::string(to_string(p.interpolation)).c_str(), p.channels == ChannelOrder::kBgr ? "BGR" : "RGB",
                p.scale, p.mean[0], p.mean[1], p.mean[2], p.std[0], p.std[1], p.std[2]);
}

std::string input_text(const Tokenizer& tokenizer) {
  const auto& o = tokenizer.options();
  return format("texts: WordPiece with %lld pieces, at most %lld tokens, ",
                static_cast<long long>(tokenizer.vocabulary().size()), static_cast<long long>(o.max_length)) +
         (o.lower_case ? "small letters" : "letters as they are") +
         (o.strip_accents.value_or(o.lower_case) ? " without accents\n" : "\n");
}

}  // namespace

std::string to_text(const ModelInfo& info) {
  return base::translated("report", [&] {
    std::string text =
        format("%s, %s; input %s; %lld classes; %lld parameters, %lld trainable\n", info.family.c_str(),
               info.origin.c_str(), shape_text(info.input_shape).c_str(), static_cast<long long>(info.classes),
               static_cast<long long>(info.parameters), static_cast<long long>(info.trainable));
    const auto layer_or_none = [](const std::string& name) { return name.empty() ? "none" : name; };
    text += "head: " + (info.head.empty() ? "none" : info.head + " (" + info.head_kind + ")") +
            "; feature map: " + layer_or_none(info.features_layer) +
            "; last linear layer: " + layer_or_none(info.penultimate_layer) + "; batch norm: " + info.batch_norm + "\n";
    if (info.tasks.size() > 1 || (!info.tasks.empty() && info.tasks[0].kind != TaskKind::kSingleLabel))
      for (const auto& task : info.tasks)
        text += "task " + task.name + (task.name.empty() ? "" : " ") + "(" + std::string(to_string(task.kind)) +
                format("): %lld outputs\n", static_cast<long long>(task.outputs));
    for (const auto& task : info.tasks) text += calibration_text(task);
    text += std::visit([](const auto& input) { return input_text(input); }, info.input);
    if (info.int8) text += int8_text(*info.int8);
    text += "sha256: " + info.sha256 + "\n\n";
    text += "layer                                    type               output            parameters\n";
    for (const auto& layer : info.layers) {
      const char* state = layer.parameters == 0                ? ""
                          : layer.trainable == 0               ? "  frozen"
                          : layer.trainable < layer.parameters ? "  partly frozen"
                                                               : "";
      text += format("%s %s %-16s %11lld%s\n", column(layer.name, 40).c_str(), column(layer.type, 18).c_str(),
                     shape_text(layer.output_shape).c_str(), static_cast<long long>(layer.parameters), state);
    }
    return text;
  });
}

}  // namespace graft
