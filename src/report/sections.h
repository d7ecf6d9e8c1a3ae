/// The larger sections of a run's page, each from its part of the document.
#pragma once

#include <string>
#include <vector>

#include "report/page.h"

namespace graft::report {

/// Charts and a table of the epochs; `document` has "history" and "phases".
Html curves(const Json& document);
/// Of a History's epochs, the best if something was validated.
std::optional<std::size_t> best_epoch(const Json& history);
/// Learning rates of an epoch's groups: names in order of appearance, and their values epoch by epoch.
std::vector<Series> rate_series(const Json& epochs);

/// Figures, confusion matrix, classes and calibration; `id` is unique on the page.
Html evaluation(const Json& evaluation, const std::string& id);

}  // namespace graft::report
