/// Results as JSON and as text for a terminal.
/// Thread-safety: functions without state; safe everywhere.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <graft/evaluation.h>
#include <graft/export.h>
#include <graft/inspect.h>
#include <graft/quantize.h>
#include <graft/trainer.h>

namespace graft {

/// {"epochs": [{"loss", "accuracy", "val_loss", "val_accuracy", "seconds", ...}], "best", "frozen_unchanged",
/// "images_per_second", "bad_images": [{"file", "message"}]}. Numbers that are not finite become null.
GRAFT_EXPORT std::string to_json(const History& history);
/// {"accuracy", "top5_accuracy", "loss", "ece", "examples", "per_class": [...], "confusion": [[...]], ...}
GRAFT_EXPORT std::string to_json(const Evaluation& evaluation);
/// {"family", "origin", "head", "layers": [...], "preprocessing", "labels", "sha256", ...}
GRAFT_EXPORT std::string to_json(const ModelInfo& info);
GRAFT_EXPORT std::string to_json(const PlanInfo& info);  ///< the same
/// {"convolutions", "convolutions_in_int8", "linear_in_int8", "in_float": [...], "golden_difference", "int8":
/// {"pictures", "top1_agreement", "mean_difference", "max_difference", "float32_accuracy", "int8_accuracy"}, ...}
GRAFT_EXPORT std::string to_json(const QuantizationReport& report);

/// Tables of at most 100 columns, lines ended by newlines.
GRAFT_EXPORT std::string to_text(const History& history);
GRAFT_EXPORT std::string to_text(const Evaluation& evaluation);      ///< the same
GRAFT_EXPORT std::string to_text(const ModelInfo& info);             ///< the same
GRAFT_EXPORT std::string to_text(const PlanInfo& info);              ///< the same
GRAFT_EXPORT std::string to_text(const QuantizationReport& report);  ///< the same

}  // namespace graft
