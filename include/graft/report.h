/// Results as JSON and as text for a terminal.
/// Thread-safety: functions without state; safe everywhere.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <graft/calibration.h>
#include <graft/compare.h>
#include <graft/evaluation.h>
#include <graft/export.h>
#include <graft/inspect.h>
#include <graft/quantize.h>
#include <graft/trainer.h>

namespace graft {

/// {"epochs": [{"phase", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "learning_rates": [{"group",
/// "rate"}], "seconds", ...}], "best", "frozen_unchanged", "stopped_early", "interrupted", "resumed_at",
/// "images_per_second", "bad_images": [{"file", "error"}]}. Numbers that are not finite become null.
GRAFT_EXPORT std::string to_json(const History& history);
/// The epochs, one on a line: as objects with "epoch" counted from 1 (JSON Lines), or with a header as values between
/// commas (RFC 4180), empty where there is none.
GRAFT_EXPORT std::string to_json_lines(const History& history);
GRAFT_EXPORT std::string to_csv(const History& history);  ///< the same
/// {"accuracy", "top5_accuracy", "loss", "nll", "ece", "examples", "per_class": [...], "macro", "weighted", "roc_auc",
/// "confusion": [[...]], "reliability": [...], "accuracy_interval", "top_losses": [...], ...}; what there is not is
/// null
GRAFT_EXPORT std::string to_json(const Evaluation& evaluation);
/// {"temperature", "reject_below", "ece_before", "ece_after", "nll_before", "nll_after", "coverage", ...}
GRAFT_EXPORT std::string to_json(const CalibrationReport& report);
/// {"first": {"accuracy", "ece", "nll"}, "second", "only_first_right", "mcnemar": {"exact_p", ...}, "difference", ...}
GRAFT_EXPORT std::string to_json(const ModelComparison& comparison);
/// {"family", "origin", "head", "layers": [...], "preprocessing", "labels", "sha256", ...}
GRAFT_EXPORT std::string to_json(const ModelInfo& info);
GRAFT_EXPORT std::string to_json(const PlanInfo& info);  ///< the same
/// {"convolutions", "convolutions_in_int8", "linear_in_int8", "in_float": [...], "golden_difference", "int8":
/// {"examples", "top1_agreement", "mean_difference", "max_difference", "float32_accuracy", "int8_accuracy"}, ...}
GRAFT_EXPORT std::string to_json(const QuantizationReport& report);

/// Tables of at most 100 columns (names of files may go beyond), lines ended by newlines.
GRAFT_EXPORT std::string to_text(const History& history);
GRAFT_EXPORT std::string to_text(const Evaluation& evaluation);       ///< the same
GRAFT_EXPORT std::string to_text(const CalibrationReport& report);    ///< the same
GRAFT_EXPORT std::string to_text(const ModelComparison& comparison);  ///< the same
GRAFT_EXPORT std::string to_text(const ModelInfo& info);              ///< the same
GRAFT_EXPORT std::string to_text(const PlanInfo& info);               ///< the same
GRAFT_EXPORT std::string to_text(const QuantizationReport& report);   ///< the same

}  // namespace graft
